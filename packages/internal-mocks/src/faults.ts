import { setTimeout as delay } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { MethodName } from "./calls.ts";

/** What goes wrong, and where. At least one of `latencyMs`, `code` and `hang` is needed. */
export interface Fault<S extends DescService> {
  /** The method that it befalls; every method if absent. */
  method?: MethodName<S>;
  /** Waits this long, in ms, before anything else. */
  latencyMs?: number;
  /** Ends the call with this error. */
  code?: Code;
  /** The text of the error; needs `code`. */
  message?: string;
  /** Never answers. The call ends when the caller leaves or its deadline passes. */
  hang?: boolean;
  /** Befalls only this many calls; all if absent. */
  times?: number;
}

/** The faults that are active. */
export interface Faults<S extends DescService> {
  /** Adds a fault. Throws a TypeError that names the field if it makes no sense. */
  add(fault: Fault<S>): void;
  clear(): void;
  /** Resolves if the call may go on; rejects with a ConnectError if not. */
  apply(method: string, signal: AbortSignal): Promise<void>;
}

/** Makes the faults of a service: none at first. Several that befall one call apply in the order they were added. */
export function createFaults<S extends DescService>(service: S): Faults<S> {
  const active = new Set<{ fault: Fault<S>; left: number }>();
  return {
    add(fault) {
      checkFault(service, fault);
      active.add({ fault: { ...fault }, left: fault.times ?? Number.POSITIVE_INFINITY });
    },
    clear: () => active.clear(),
    async apply(method, signal) {
      for (const entry of [...active]) {
        const befalls = entry.fault.method === undefined || entry.fault.method === method;
        if (!befalls || entry.left === 0) continue;
        entry.left -= 1;
        if (entry.left === 0) active.delete(entry);
        await befall(entry.fault, signal);
      }
    },
  };
}

async function befall<S extends DescService>(fault: Fault<S>, signal: AbortSignal): Promise<void> {
  if (fault.latencyMs !== undefined)
    await delay(fault.latencyMs, undefined, { signal }).catch(() => undefined);
  if (fault.hang && !signal.aborted)
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  if (signal.aborted) throw ConnectError.from(signal.reason, Code.Canceled);
  if (fault.code !== undefined) throw new ConnectError(fault.message ?? "fault on demand", fault.code);
}

function checkFault<S extends DescService>(service: S, fault: Fault<S>): void {
  const problem = problemOf(service, fault);
  if (problem !== undefined) throw new TypeError(`fault: ${problem}`);
}

function problemOf<S extends DescService>(service: S, fault: Fault<S>): string | undefined {
  const { method, latencyMs, code, message, hang, times } = fault;
  const names = service.methods.map((known) => known.localName);
  if (method !== undefined && !names.includes(method))
    return `method must be one of ${names.join(", ")}, got "${method}"`;
  if (latencyMs === undefined && code === undefined && !hang) return "needs one of latencyMs, code, hang";
  if (latencyMs !== undefined && !(latencyMs >= 0)) return `latencyMs must be 0 or more, got ${latencyMs}`;
  if (message !== undefined && code === undefined) return "message needs a code";
  if (times !== undefined && !(Number.isInteger(times) && times > 0))
    return `times must be a whole number from 1, got ${times}`;
  return undefined;
}

import type { DescService, MessageShape } from "@bufbuild/protobuf";

/** The methods of a service, as its clients write them: `"batchGetUsers"`. */
export type MethodName<S extends DescService> = string & keyof S["method"];

/**
 * How a call ended. `canceled`: the caller left, its deadline passed, or the service was stopped.
 * `error` includes faults.
 */
export type Outcome = "running" | "ok" | "error" | "canceled";

/** One call that the service received. */
export interface CallRecord<S extends DescService, M extends MethodName<S> = MethodName<S>> {
  readonly method: M;
  readonly request: MessageShape<S["method"][M]["input"]>;
  /** When it came, in ms since 1970. */
  readonly at: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Changes from `running` once, when the call ends. */
  readonly outcome: Outcome;
}

/** What a service was asked. Faults do not hide a call: it is noted before they apply. */
export interface CallRecorder<S extends DescService> {
  /**
   * The calls, oldest first: the last 10,000 unless the mocks were made with another `recordedCalls`.
   *
   * @example
   * const [call] = users.calls.all("batchGetUsers");
   * expect(call?.request.ids).toHaveLength(500);
   */
  all(): CallRecord<S>[];
  all<M extends MethodName<S>>(method: M): CallRecord<S, M>[];
  /** How many calls there were since the start or the last `clear()`, however many of them are kept. */
  count(method?: MethodName<S>): number;
  /** How many calls are running now. */
  active(method?: MethodName<S>): number;
  /** Forgets the calls and their number. Those that are running still count as active. */
  clear(): void;
}

/** What the recorder needs to know of a call. */
interface CallStart {
  method: string;
  request: unknown;
  headers: Headers;
}

/** A recorder and the function that notes a call. That one returns how to end it; only the first end counts. */
export interface CallLog<S extends DescService> {
  recorder: CallRecorder<S>;
  start(call: CallStart): (outcome: Exclude<Outcome, "running">) => void;
}

/** Makes a recorder that keeps the last `keep` calls. */
export function createCallLog<S extends DescService>(keep: number): CallLog<S> {
  const records: LiveRecord[] = [];
  const counts = createTally();
  const active = createTally();

  function start({ method, request, headers }: CallStart) {
    const at = Date.now();
    const record: LiveRecord = {
      method,
      request,
      at,
      headers: Object.fromEntries(headers),
      outcome: "running",
    };
    counts.add(method, 1);
    active.add(method, 1);
    records.push(record);
    if (records.length > keep) records.shift();
    return (outcome: Exclude<Outcome, "running">) => {
      if (record.outcome !== "running") return;
      record.outcome = outcome;
      active.add(method, -1);
    };
  }

  function all(method?: string) {
    const found = records.filter((record) => method === undefined || record.method === method);
    // The router only lets methods of S pass, with requests of their type; the compiler cannot follow it there.
    return found as unknown as CallRecord<S>[];
  }

  function clear() {
    records.length = 0;
    counts.clear();
  }

  // An overload cannot be inferred from `all`: the filter by name is what makes the narrower type true.
  const recorder = { all, count: counts.of, active: active.of, clear } as CallRecorder<S>;
  return { recorder, start };
}

interface LiveRecord {
  method: string;
  request: unknown;
  at: number;
  headers: Record<string, string>;
  outcome: Outcome;
}

function createTally() {
  const byMethod = new Map<string, number>();
  return {
    add: (method: string, change: number) => void byMethod.set(method, (byMethod.get(method) ?? 0) + change),
    of: (method?: string) =>
      method === undefined
        ? [...byMethod.values()].reduce((sum, n) => sum + n, 0)
        : (byMethod.get(method) ?? 0),
    clear: () => byMethod.clear(),
  };
}

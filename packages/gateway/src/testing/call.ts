import { type ConnectRouter, createRouterTransport } from "@connectrpc/connect";
import type { Call } from "../call.ts";
import { createLoaderScope } from "../consolidation/loaders/loader.ts";
import { createMissingParts } from "../consolidation/partial/partial.ts";
import { createCallRecord } from "../observe/call-record.ts";
import { anonymous } from "../policy/principal.ts";
import { createUpstreamClients, type UpstreamClients } from "../upstream/clients.ts";
import { type AnyUpstream, declaration } from "../upstream/upstream.ts";
import { pub } from "./protos.ts";

/** A call as `admit` makes it: anonymous, with a minute left and no upstreams, but for what the test gives. */
export function testCall(parts: Partial<Call> = {}): Call {
  return {
    method: pub.WarehouseService.method.getCrate,
    requestId: "request-1",
    principal: anonymous,
    rights: { has: () => false, key: "none", audience: "public" },
    hidden: new Set(),
    omitted: parts.hidden ?? new Set(),
    recheck: async () => {},
    signal: new AbortController().signal,
    remainingMs: () => 60_000,
    upstreams: inMemory([], () => {}),
    loaders: createLoaderScope("call"),
    missing: createMissingParts((parts.method ?? pub.WarehouseService.method.getCrate).output),
    record: createCallRecord({ requestId: "request-1", httpMethod: "POST", path: "/", address: "127.0.0.1" }),
    ...parts,
  };
}

/** Upstreams that are answered in this process, all by the same routes. */
export function inMemory(
  upstreams: readonly AnyUpstream[],
  routes: (router: ConnectRouter) => void,
): UpstreamClients {
  const transport = createRouterTransport(routes);
  const names = upstreams.map((upstream) => upstream[declaration].name);
  return createUpstreamClients(upstreams, {
    addresses: {},
    transports: Object.fromEntries(names.map((name) => [name, transport])),
    maxResponseBytes: 4 * 2 ** 20,
  });
}

/** What a promise, or a function, ended in; the test fails if it did not fail. */
export async function thrownBy(work: Promise<unknown> | (() => unknown)): Promise<unknown> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
}

/** What an error says, whether it was thrown or not. */
export async function messageOf(work: Promise<unknown> | (() => unknown)): Promise<string> {
  const error = await thrownBy(work);
  return error instanceof Error ? error.message : String(error);
}

/** Everything that an iterable gives. */
export async function drain<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of iterable) values.push(value);
  return values;
}

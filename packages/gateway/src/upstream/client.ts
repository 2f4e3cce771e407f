import type { DescMethod } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { type CallNames, callNames } from "./calls/call-trace.ts";
import { createGate, type Gate } from "./calls/gate.ts";
import type { MethodCallPolicy } from "./calls/policy.ts";
import type { SessionOptions } from "./session/options.ts";
import { createSession, type UpstreamSession } from "./session/session.ts";
import { createSessionTransport } from "./session/transport.ts";
import type { UpstreamDeclaration } from "./upstream.ts";

/** How one upstream is called. */
export interface Client {
  /** Absent for a transport that was given. */
  readonly session: UpstreamSession | undefined;
  /** What all calls to it share. */
  readonly gate: Gate;
  /** How each of its methods is called, by its local name. */
  readonly methods: ReadonlyMap<string, MethodClient>;
}

/** How one method of an upstream is called. */
export interface MethodClient {
  readonly transport: Transport;
  readonly gate: Gate;
  readonly policy: MethodCallPolicy;
  readonly names: CallNames;
}

/** Where an upstream is, and what is taken from it. */
export interface ClientOptions {
  readonly addresses: readonly URL[];
  /** In place of connections. */
  readonly transport: Transport | undefined;
  /** The largest message that is taken, in bytes. */
  readonly maxResponseBytes: number;
  readonly tls: SessionOptions["tls"];
  /** Milliseconds that only go up. */
  readonly now: () => number;
}

/** Creates the client of an upstream, or `undefined` if it is nowhere. */
export function createClient(
  { name, service, calls }: UpstreamDeclaration,
  { addresses, transport: given, maxResponseBytes, tls, now }: ClientOptions,
): Client | undefined {
  const session =
    given === undefined && addresses.length > 0
      ? createSession(name, addresses, { ...calls.connection, tls })
      : undefined;
  const transport = session === undefined ? given : createSessionTransport(session, maxResponseBytes);
  if (transport === undefined) return undefined;
  const gate = createGate(name, calls, now);
  const methodClient = (method: DescMethod): [string, MethodClient][] => {
    const policy = calls.methods.get(method.localName);
    if (policy === undefined) return [];
    return [[method.localName, { transport, gate, policy, names: callNames(name, method) }]];
  };
  return { session, gate, methods: new Map(service.methods.flatMap(methodClient)) };
}

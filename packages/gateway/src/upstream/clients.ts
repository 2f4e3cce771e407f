import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import type { Call } from "../call.ts";
import { PublicError, StartError } from "../errors.ts";
import type { Attempt, CallClock } from "./calls/attempts.ts";
import { startCallTrace } from "./calls/call-trace.ts";
import type { GateFacts } from "./calls/gate.ts";
import { makeCall } from "./calls/make-call.ts";
import { openStream } from "./calls/stream.ts";
import { type Client, createClient, type MethodClient } from "./client.ts";
import { headersOf, metadataOf } from "./metadata.ts";
import { type SessionOptions, tlsProblems } from "./session/options.ts";
import type { SessionFacts, UpstreamSession } from "./session/session.ts";
import { isUnimplemented, toPublicError } from "./translate.ts";
import { type AnyUpstream, declaration, type UpstreamDeclaration } from "./upstream.ts";

/** The connections of one gateway to its internal services. */
export interface UpstreamClients {
  unary<I extends DescMessage, O extends DescMessage>(
    upstream: UpstreamDeclaration,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    call: Call,
  ): Promise<MessageShape<O>>;
  stream<I extends DescMessage, O extends DescMessage>(
    upstream: UpstreamDeclaration,
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    call: Call,
  ): AsyncIterable<MessageShape<O>>;
  /** The state of the connections to each upstream, by its name. */
  states(): Readonly<Record<string, ReturnType<UpstreamSession["state"]>>>;
  /** Connects to an upstream, if it is not. Rejects if it is out of reach. */
  probe(name: string): Promise<void>;
  /** What operators see of each upstream, by its name. */
  facts(): Readonly<Record<string, UpstreamFacts>>;
  /** The unary methods that an upstream said it does not have when it was asked last: `users.batchGetUsers`. */
  unimplemented(): readonly string[];
  /** Ends all connections. */
  close(): void;
}

/** What operators see of one upstream: its connections, and the calls to it. */
export interface UpstreamFacts extends GateFacts {
  /** Absent for a transport of your own. */
  readonly session: SessionFacts | undefined;
}

/** Where upstreams are, and what is taken from them. */
export interface UpstreamClientOptions {
  /** The addresses of each upstream, by its name. */
  readonly addresses: Readonly<Record<string, readonly URL[]>>;
  /** Transports of your own instead of connections, by the name of the upstream: for tests in memory. */
  readonly transports?: Readonly<Record<string, Transport>>;
  /** The largest message that is taken, in bytes. */
  readonly maxResponseBytes: number;
  /** The gateway's own credentials: a bearer token that every upstream gets. Read for each call. */
  readonly token?: (() => string | undefined) | undefined;
  /** For upstreams at `https://`: who is trusted, and the gateway's own certificate. PEM. */
  readonly tls?: SessionOptions["tls"];
  /** Time and chance, for tests. */
  readonly clock?: CallClock;
}

/** What is kept back from the deadline, so that the gateway can still answer, in milliseconds. */
const reserveMs = 50;

const realClock: CallClock = { now: () => performance.now(), random: Math.random };

/**
 * Makes a client for each upstream. Connections are opened when first needed.
 *
 * Throws a {@link StartError} for an upstream without an address, for two of the same name, and for TLS options that are no
 * PEM or do not belong together.
 */
export function createUpstreamClients(
  upstreams: readonly AnyUpstream[],
  options: UpstreamClientOptions,
): UpstreamClients {
  const { addresses, transports = {}, maxResponseBytes, tls = {}, clock = realClock } = options;
  const clients = new Map<string, Client>();
  const problems = tlsProblems(tls);
  // Each upstream would throw for it, before the others are looked at.
  const usableTls = problems.length > 0 ? {} : tls;
  for (const { [declaration]: declared } of upstreams) {
    const { name } = declared;
    if (clients.has(name)) {
      problems.push(`there are two upstreams named ${name}: rename one`);
      continue;
    }
    const client = createClient(declared, {
      addresses: addresses[name] ?? [],
      transport: transports[name],
      maxResponseBytes,
      tls: usableTls,
      now: clock.now,
    });
    if (client === undefined) problems.push(`the upstream ${name} has no address`);
    else clients.set(name, client);
  }
  if (problems.length > 0) throw new StartError(problems);
  return createClients(clients, { clock, token: options.token ?? (() => undefined) });
}

function createClients(
  clients: ReadonlyMap<string, Client>,
  { clock, token }: { readonly clock: CallClock; readonly token: () => string | undefined },
): UpstreamClients {
  const unimplemented = new Set<string>();
  const begin = (upstream: UpstreamDeclaration, method: DescMethod, call: Call) => {
    const client = find(clients, upstream, method, call);
    const trace = startCallTrace(client.names, call);
    const metadata = metadataOf(upstream, call, { token: token(), trace: trace.headers });
    return { ...client, trace, metadata, callLeftMs: () => call.remainingMs() - reserveMs, clock };
  };
  return {
    unary: async (upstream, method, request, call) => {
      const { signal } = call;
      const begun = begin(upstream, method, call);
      const { transport, metadata, trace, names } = begun;
      try {
        const plan = {
          ...begun,
          signal,
          send: ({ signal, timeoutMs, previous }: Attempt) =>
            transport.unary(method, signal, timeoutMs, headersOf(metadata, previous), request),
        };
        const { message } = await makeCall(plan, trace.progress);
        trace.end("ok");
        unimplemented.delete(names.call);
        const after = upstream.afterCalls.get(method.localName) ?? [];
        for (const follow of after) follow(message, create(method.input, request), call);
        return message;
      } catch (error) {
        if (isUnimplemented(error)) unimplemented.add(names.call);
        throw trace.end(toPublicError(error, signal, upstream));
      }
    },
    stream: async function* (upstream, method, request, call) {
      const begun = begin(upstream, method, call);
      const { transport, metadata, trace } = begun;
      const { signal, stop } = untilReaderStops(call.signal);
      let end: "ok" | PublicError = new PublicError("CALLER_LEFT", "The reader stopped.");
      try {
        const open = async ({ signal, timeoutMs, previous }: Attempt) => {
          const headers = headersOf(metadata, previous);
          return (await transport.stream(method, signal, timeoutMs, headers, once(request))).message;
        };
        yield* openStream({ ...begun, signal, open }, trace.progress);
        end = "ok";
      } catch (error) {
        end = toPublicError(error, call.signal, upstream);
        throw end;
      } finally {
        trace.end(end);
        stop();
      }
    },
    states: () => Object.fromEntries(sessionsOf(clients).map(([name, session]) => [name, session.state()])),
    probe: async (name) => clients.get(name)?.session?.connect(),
    facts: () =>
      Object.fromEntries(
        [...clients].map(([name, { session, gate }]) => [
          name,
          { session: session?.facts(), ...gate.facts() },
        ]),
      ),
    unimplemented: () => [...unimplemented],
    close: () => {
      for (const [, session] of sessionsOf(clients)) session.close();
    },
  };
}

function sessionsOf(clients: ReadonlyMap<string, Client>): (readonly [string, UpstreamSession])[] {
  return [...clients].flatMap(([name, { session }]) => (session === undefined ? [] : [[name, session]]));
}

function find(
  clients: ReadonlyMap<string, Client>,
  upstream: UpstreamDeclaration,
  { localName }: DescMethod,
  { signal }: Call,
): MethodClient {
  const method = clients.get(upstream.name)?.methods.get(localName);
  if (method !== undefined) return method;
  const problem = `the upstream ${upstream.name} is not in the list given to createGateway({ upstreams })`;
  throw toPublicError(new Error(problem), signal, upstream);
}

/**
 * A signal that ends with the call, or when its reader stops: only a signal ends a stream of Connect's client. See "A stream
 * goes on when its reader has stopped" in docs/upstream-bugs.md.
 */
function untilReaderStops(call: AbortSignal): { readonly signal: AbortSignal; readonly stop: () => void } {
  const reader = new AbortController();
  return { signal: AbortSignal.any([call, reader.signal]), stop: () => reader.abort() };
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}

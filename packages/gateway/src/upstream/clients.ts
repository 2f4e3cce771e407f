import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { Call } from "../call.ts";
import { PublicError, StartError } from "../errors.ts";
import { recordUpstreamCall } from "../observe/call-record.ts";
import { identityHeaders } from "./identity.ts";
import { createSession, isNeverProcessed, type UpstreamSession } from "./session.ts";
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
  /** The state of each connection, by the name of the upstream. */
  states(): Readonly<Record<string, ReturnType<UpstreamSession["state"]>>>;
  /** The unary methods that an upstream said it does not have when it was asked last: `users.batchGetUsers`. */
  unimplemented(): readonly string[];
  /** Ends all connections. */
  close(): void;
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
}

/** What is kept back from the deadline, so that the gateway can still answer, in milliseconds. */
const reserveMs = 50;

/**
 * Makes a client for each upstream. Connections are opened when first needed.
 *
 * Throws a {@link StartError} for an upstream without an address, and for two of the same name.
 */
export function createUpstreamClients(
  upstreams: readonly AnyUpstream[],
  options: UpstreamClientOptions,
): UpstreamClients {
  const sessions = new Map<string, UpstreamSession>();
  const transports = new Map<string, Transport>();
  const problems: string[] = [];
  for (const {
    [declaration]: { name },
  } of upstreams) {
    const own = options.transports?.[name];
    const addresses = options.addresses[name] ?? [];
    if (transports.has(name)) problems.push(`there are two upstreams named ${name}: rename one`);
    else if (own !== undefined) transports.set(name, own);
    else if (addresses[0] === undefined) problems.push(`the upstream ${name} has no address`);
    else {
      const session = createSession(name, addresses);
      sessions.set(name, session);
      transports.set(name, createTransport(addresses[0].origin, session, options.maxResponseBytes));
    }
  }
  if (problems.length > 0) throw new StartError(problems);
  return createClients(transports, sessions, options.token ?? (() => undefined));
}

function createClients(
  transports: ReadonlyMap<string, Transport>,
  sessions: ReadonlyMap<string, UpstreamSession>,
  token: () => string | undefined,
): UpstreamClients {
  const transportOf = ({ name }: UpstreamDeclaration): Transport => {
    const transport = transports.get(name);
    if (transport === undefined)
      throw new Error(`the upstream ${name} is not in the list given to createGateway({ upstreams })`);
    return transport;
  };
  const unimplemented = new Set<string>();
  return {
    unary: async (upstream, method, request, call) => {
      const name = `${upstream.name}.${method.localName}`;
      const ended = startRecord(upstream, method.localName, call);
      const send = async () => {
        const timeoutMs = Math.min(upstream.timeoutMs, timeLeft(call));
        return transportOf(upstream).unary(
          method,
          call.signal,
          timeoutMs,
          headersFor(upstream, call, token()),
          request,
        );
      };
      try {
        const answer = await send().catch((error: unknown) => sendAgain(error, send, call));
        ended("ok");
        unimplemented.delete(name);
        const after = upstream.afterCalls.get(method.localName) ?? [];
        for (const follow of after) follow(answer.message, create(method.input, request), call);
        return answer.message;
      } catch (error) {
        if (isUnimplemented(error)) unimplemented.add(name);
        throw ended(toPublicError(error, call.signal, upstream));
      }
    },
    stream: async function* (upstream, method, request, call) {
      const ended = startRecord(upstream, method.localName, call);
      // Connect's client goes on reading when its reader stops: only a signal ends the call.
      const reader = new AbortController();
      const signal = AbortSignal.any([call.signal, reader.signal]);
      let end: "ok" | PublicError = new PublicError("CALLER_LEFT", "The reader stopped.");
      try {
        const transport = transportOf(upstream);
        const answer = await transport.stream(
          method,
          signal,
          timeLeft(call),
          headersFor(upstream, call, token()),
          once(request),
        );
        yield* answer.message;
        end = "ok";
      } catch (error) {
        end = toPublicError(error, call.signal, upstream);
        throw end;
      } finally {
        ended(end);
        reader.abort();
      }
    },
    states: () => Object.fromEntries([...sessions].map(([name, session]) => [name, session.state()])),
    unimplemented: () => [...unimplemented],
    close: () => {
      for (const session of sessions.values()) session.close();
    },
  };
}

/**
 * A call that the upstream surely did nothing for, such as one that crossed with its goodbye, is sent once more:
 * that is safe whatever it does.
 */
async function sendAgain<T>(error: unknown, send: () => Promise<T>, { signal }: Call): Promise<T> {
  if (isNeverProcessed(error) && !signal.aborted) return send();
  throw error;
}

/**
 * gRPC over HTTP/2. Fields that the gateway's protos do not know are dropped here, so that no view can pass them
 * on.
 */
function createTransport(
  baseUrl: string,
  sessionManager: UpstreamSession,
  maxResponseBytes: number,
): Transport {
  return createGrpcTransport({
    baseUrl,
    sessionManager,
    readMaxBytes: maxResponseBytes,
    binaryOptions: { readUnknownFields: false },
    acceptCompression: [],
  });
}

/** What goes along with each call. A list of what is sent, not of what is held back. */
function headersFor({ identity }: UpstreamDeclaration, call: Call, token: string | undefined): Headers {
  return new Headers({
    "x-request-id": call.requestId,
    ...identityHeaders(identity, call.principal),
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  });
}

/** Whole milliseconds: the protocols have no fractions. */
function timeLeft(call: Call): number {
  const left = Math.floor(call.remainingMs() - reserveMs);
  if (left > 0) return left;
  throw new PublicError("DEADLINE_EXCEEDED", "The time for this call is over.");
}

/** Returns a function that notes how the call ended, and gives back the error that it was given. */
function startRecord(upstream: UpstreamDeclaration, method: string, call: Call) {
  const startedAt = performance.now();
  return <T extends "ok" | PublicError>(end: T): T => {
    const outcome = end instanceof PublicError ? end.code : "ok";
    recordUpstreamCall(call.record, {
      call: `${upstream.name}.${method}`,
      durationMs: performance.now() - startedAt,
      outcome,
    });
    return end;
  };
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}

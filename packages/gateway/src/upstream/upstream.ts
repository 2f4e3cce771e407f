import type {
  DescMessage,
  DescMethod,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  Message,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Call } from "../call.ts";
import type { CallOptions } from "./calls/options.ts";
import { type CallPolicy, callPolicy } from "./calls/policy.ts";

/** What an upstream is told, and how calls to it are made. */
export interface UpstreamOptions<S extends DescService = DescService> extends CallOptions<S> {
  /**
   * What the service is told about the caller, as metadata that the gateway sets: `subject` is in `x-portico-subject`.
   * Values are percent-encoded where they are not printable ASCII; `roles` are joined by commas. Nothing that a caller
   * sends gets there. A service that is told anything may refuse callers: its `permission_denied` reaches them.
   * Default: nothing.
   */
  readonly identity?: readonly IdentityFact[];
}

/**
 * What can be told about a caller. `kind` is how it was recognised: `anonymous`, `token`, `api_key`, `certificate`, or
 * `tenant` for an answer that all callers of a tenant share.
 */
export type IdentityFact = "kind" | "subject" | "issuer" | "tenant" | "roles";

/** What an upstream is: its name, its service and its options. */
export interface UpstreamDeclaration<S extends DescService = DescService> {
  readonly name: string;
  readonly service: S;
  /** How calls to it are made. */
  readonly calls: CallPolicy;
  /** Whether its time-out was written, or is the default. */
  readonly hasOwnTimeout: boolean;
  readonly identity: readonly IdentityFact[];
  /** What is done after calls, by the local name of the method. Loaders add to it when they are declared. */
  readonly afterCalls: Map<string, readonly AfterCall[]>;
  /** The names of the loaders that keep what they fetch: what is kept under one name is that of one loader. */
  readonly cachedLoaders: Set<string>;
}

/**
 * What is done when a unary call has succeeded, before whoever made it gets the answer. Takes no time, and does not throw.
 */
export type AfterCall = (response: Message, request: Message, call: Call) => void;

/** Under this key, so that a service may have a method of any name. */
export const declaration: unique symbol = Symbol("portico upstream");

/** A typed client of one internal service. Its methods take the request and the call that they work for. */
export type Upstream<S extends DescService = DescService> = {
  readonly [declaration]: UpstreamDeclaration<S>;
} & UpstreamMethods<S>;

/** The methods of a service that a gateway calls: unary and server streaming. */
export type UpstreamMethods<S extends DescService> = {
  readonly [K in keyof S["method"] as S["method"][K] extends DescMethodUnary | DescMethodServerStreaming
    ? K
    : never]: UpstreamMethod<S["method"][K]>;
};

/** One method of an upstream. */
export type UpstreamMethod<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, call: Call) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, call: Call) => AsyncIterable<MessageShape<O>>
      : never;

/** Anything with a declaration: for code that does not care which methods there are. */
export interface AnyUpstream {
  readonly [declaration]: UpstreamDeclaration;
}

/**
 * Declares an internal service. Where it is comes from the environment: `upstream("users", ...)` is found at
 * `UPSTREAM_USERS`.
 *
 * A call to it carries the deadline and the cancellation of the public call; whatever goes wrong comes back as a
 * `PublicError` in the gateway's own words.
 *
 * Throws a `TypeError` for a name that is not lower-case letters, digits and `_`, and for options that cannot be: it names
 * all of them, each with what would do.
 *
 * @example
 * export const users = upstream("users", UsersService, { timeoutMs: 800 });
 * const { user } = await users.getUser({ id: "user-1" }, call);
 */
export function upstream<S extends DescService>(
  name: string,
  service: S,
  options: UpstreamOptions<NoInfer<S>> = {},
): Upstream<S> {
  if (!/^[a-z][a-z0-9_]*$/.test(name))
    throw new TypeError(`upstream: the name must be lower-case letters, digits and _, got "${name}"`);
  const declared: UpstreamDeclaration<S> = {
    name,
    service,
    calls: callPolicy(name, service, options),
    hasOwnTimeout: options.timeoutMs !== undefined,
    identity: options.identity ?? [],
    afterCalls: new Map(),
    cachedLoaders: new Set(),
  };
  const methods = service.methods.map((method) => [method.localName, invoker(declared, method)]);
  // The compiler cannot follow the methods of a service that it does not know.
  return { ...Object.fromEntries(methods), [declaration]: declared } as Upstream<S>;
}

function invoker(declared: UpstreamDeclaration, method: DescMethod) {
  if (isUnary(method))
    return (request: MessageInitShape<DescMessage>, call: Call) =>
      call.upstreams.unary(declared, method, request, call);
  if (isServerStreaming(method))
    return (request: MessageInitShape<DescMessage>, call: Call) =>
      call.upstreams.stream(declared, method, request, call);
  return undefined;
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

function isServerStreaming(method: DescMethod): method is DescMethodServerStreaming {
  return method.methodKind === "server_streaming";
}

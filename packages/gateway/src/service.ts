import {
  create,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Call } from "./call.ts";
import { StartError } from "./errors.ts";
import { type MethodPolicy as MethodOptions, MethodPolicySchema } from "./gen/portico/v1/policy_pb.ts";

/** A public service with its handlers. Made by {@link service}. */
export interface PublicService {
  readonly desc: DescService;
  /** The handler of each method, by its local name. */
  readonly handlers: Readonly<Record<string, AnyHandler>>;
  /** The policy of each method, for a service whose proto cannot say it. */
  readonly policy?: MethodOptions;
  /** Whether its calls cost their caller nothing of what it may call. */
  readonly isFree?: boolean;
}

/** The handler of one method: an ordinary function from the request and the call to the response. */
export type Handler<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, call: Call) => Promise<MessageInitShape<O>> | MessageInitShape<O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, call: Call) => AsyncIterable<MessageInitShape<O>>
      : never;

/** The handlers of a service, all of them: a method that is left out does not compile. */
export type Handlers<S extends DescService> = { readonly [K in keyof S["method"]]: Handler<S["method"][K]> };

/** The handlers of a standard service, which may take streams of requests. */
export type StandardHandlers<S extends DescService> = {
  readonly [K in keyof S["method"]]: S["method"][K] extends DescMethodClientStreaming<infer I, infer O>
    ? (requests: AsyncIterable<MessageShape<I>>, call: Call) => Promise<MessageInitShape<O>>
    : S["method"][K] extends DescMethodBiDiStreaming<infer I, infer O>
      ? (requests: AsyncIterable<MessageShape<I>>, call: Call) => AsyncIterable<MessageInitShape<O>>
      : Handler<S["method"][K]>;
};

/** A handler whose method is not known to the compiler. */
export type AnyHandler = (request: never, call: Call) => unknown;

/**
 * Declares how a public service is answered.
 *
 * There are deliberately no options: whatever is decided about a method (who may call it, for how long) stands
 * next to the rpc, and is the same whichever way the call came.
 *
 * Throws a {@link StartError} if a method has no handler, or takes a stream of requests, which browsers cannot send.
 *
 * @example
 * export const usersService = service(UsersService, {
 *   async getUser({ id }, call) { return { user: userView.one(...) } },
 * });
 */
export function service<S extends DescService>(desc: S, handlers: Handlers<S>): PublicService;
export function service(
  desc: DescService,
  handlers: Readonly<Record<string, AnyHandler>>,
  ...surplus: readonly unknown[]
): PublicService {
  const problems = [...surplusProblems(surplus, desc), ...methodProblems(desc, handlers)];
  if (problems.length > 0) throw new StartError(problems);
  return { desc, handlers };
}

/**
 * Declares how a service of a standard is answered, such as gRPC's health protocol. Nobody can write options into its
 * proto, so its policy is given here, in their words; it holds for all of its methods, and they pass through the same
 * `admit` and `invoke` as all others. Its protocol, not ours, decides whether it takes streams of requests.
 *
 * @example standardService(Health, { check, list, watch }, { access: { case: "anonymous", value: true } })
 */
export function standardService<S extends DescService>(
  desc: S,
  handlers: StandardHandlers<S>,
  policy: MessageInitShape<typeof MethodPolicySchema>,
): PublicService {
  // The compiler cannot follow the methods of a service that it does not know.
  return {
    desc,
    handlers: handlers as Readonly<Record<string, AnyHandler>>,
    policy: create(MethodPolicySchema, policy),
  };
}

function methodProblems(desc: DescService, handlers: Readonly<Record<string, unknown>>): string[] {
  const known = new Set(desc.methods.map((method) => method.localName));
  return [
    ...desc.methods.flatMap((method) => {
      const name = `${desc.typeName}.${method.name}`;
      if (method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming")
        return [
          `${name} takes a stream of requests, which browsers cannot send: make it unary or server streaming`,
        ];
      if (typeof handlers[method.localName] !== "function")
        return [
          `${name} has no handler: write one named ${method.localName} in service(${desc.name}, { ... })`,
        ];
      return [];
    }),
    ...Object.keys(handlers)
      .filter((name) => !known.has(name))
      .map((name) => `${desc.typeName} has no method ${name}: remove the handler, or add the rpc`),
  ];
}

/** Connect's routers take a third argument whose interceptors replace everybody else's; that way stays shut. */
function surplusProblems(surplus: readonly unknown[], desc: DescService): string[] {
  return surplus.length === 0
    ? []
    : [`service(${desc.name}, ...) takes no options: what protects a method stands next to its rpc`];
}

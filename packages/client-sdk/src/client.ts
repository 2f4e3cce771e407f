import type {
  DescMessage,
  DescMethod,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Caller, CallOptions } from "./call.ts";
import { createPaged, type PagedMethods, pagingOf } from "./paging.ts";

/**
 * A client of one service: a function for each unary and server-streaming rpc, and `<method>All` for each one that
 * answers in pages. Browsers cannot stream requests, so rpcs that do are left out.
 */
export type ServiceClient<Service extends DescService> = Methods<Service["method"]> &
  PagedMethods<Service["method"]>;

/** Calls a unary rpc. */
export type UnaryMethod<I extends DescMessage, O extends DescMessage> = (
  request: MessageInitShape<I>,
  options?: CallOptions,
) => Promise<MessageShape<O>>;

/**
 * Calls a server-streaming rpc. The call starts when the iteration starts, and each iteration is a call of its own;
 * leaving the loop ends the call.
 */
export type StreamMethod<I extends DescMessage, O extends DescMessage> = (
  request: MessageInitShape<I>,
  options?: CallOptions,
) => AsyncIterable<MessageShape<O>>;

/** Makes a client of one service from its descriptor. */
export function createServiceClient<Service extends DescService>(
  service: Service,
  caller: Caller,
): ServiceClient<Service> {
  const client: Record<string, unknown> = {};
  for (const method of service.methods) {
    if (isUnary(method)) Object.assign(client, unaryMembers(method, caller));
    if (isServerStreaming(method)) client[method.localName] = streamMember(method, caller);
  }
  // The members follow from the descriptor, which the compiler cannot follow.
  return client as ServiceClient<Service>;
}

type Methods<Desc> = {
  readonly [Name in keyof Desc as Desc[Name] extends Callable ? Name : never]: Method<Desc[Name]>;
};

type Callable = { readonly methodKind: "unary" | "server_streaming" };

type Method<Desc> =
  Desc extends DescMethodUnary<infer I, infer O>
    ? UnaryMethod<I, O>
    : Desc extends DescMethodServerStreaming<infer I, infer O>
      ? StreamMethod<I, O>
      : never;

// `DescMethod` is no union, so comparing `methodKind` does not narrow it.
function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

function isServerStreaming(method: DescMethod): method is DescMethodServerStreaming {
  return method.methodKind === "server_streaming";
}

function unaryMembers(method: DescMethodUnary, caller: Caller): Record<string, unknown> {
  const call: UnaryMethod<DescMessage, DescMessage> = (request, options) =>
    caller.unary(method, request, options);
  const members: Record<string, unknown> = { [method.localName]: call };
  const paging = pagingOf(method);
  const name = `${method.localName}All`;
  // An rpc that has this name itself is the real thing, here as in the types.
  if (paging !== undefined && !Object.hasOwn(method.parent.method, name)) {
    members[name] = (request?: MessageInitShape<DescMessage>, options?: CallOptions) =>
      createPaged(paging, call, request, options);
  }
  return members;
}

function streamMember(
  method: DescMethodServerStreaming,
  caller: Caller,
): StreamMethod<DescMessage, DescMessage> {
  return (request, options) => caller.stream(method, request, options);
}

// What a company that builds its gateway on Portico imports.

export type { App } from "./application.ts";
export type { Call } from "./call.ts";
export { type Config, loadConfig } from "./config.ts";
export { groupLoader, type Key, type Loader, loader } from "./consolidation/loaders/loader.ts";
export type { PagingOptions } from "./consolidation/requests/paging.ts";
export {
  mapPagedRequest,
  mapRequest,
  type Paged,
  type PagedRequestMap,
  type RequestMap,
} from "./consolidation/requests/request.ts";
export type { EachOptions } from "./consolidation/views/batches.ts";
export { cases } from "./consolidation/views/cases.ts";
export { type EnumFallback, type EnumMap, type EnumOptions, enumByName } from "./consolidation/views/enum.ts";
export { mapped } from "./consolidation/views/mapped.ts";
export { itself, nested } from "./consolidation/views/nested.ts";
export { packed } from "./consolidation/views/packed.ts";
export { type RelatedOptions, related, summarized } from "./consolidation/views/related.ts";
export { computed, constant, type FieldPlan, type Source } from "./consolidation/views/source.ts";
export { type View, type ViewFields, view } from "./consolidation/views/view.ts";
export {
  type FieldViolation,
  invalid,
  PublicError,
  type PublicErrorOptions,
  present,
  reword,
  StartError,
} from "./errors.ts";
export { type Addresses, createGateway, type Gateway, type GatewayOptions } from "./gateway.ts";
export type { Anonymous, Authenticated, Principal } from "./policy/principal.ts";
export { type Reason, type ReasonEntry, reasons } from "./reasons.ts";
export { type Handler, type Handlers, type PublicService, service } from "./service.ts";
export type {
  BreakerOptions,
  ConnectionOptions,
  HedgeOptions,
  RetryOptions,
  UpstreamMethodOptions,
} from "./upstream/calls/options.ts";
export {
  type AnyUpstream,
  type IdentityFact,
  type Upstream,
  type UpstreamOptions,
  upstream,
} from "./upstream/upstream.ts";

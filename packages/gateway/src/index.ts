// What a company that builds its gateway on Portico imports.

export type { Call } from "./call.ts";
export { type Config, loadConfig } from "./config.ts";
export { type EnumOptions, enumByName } from "./consolidation/enum.ts";
export { type BatchOptions, groupLoader, type Key, type Loader, loader } from "./consolidation/loader.ts";
export { type Page, type PagingOptions, paging } from "./consolidation/paging.ts";
export { nested, type RelatedOptions, related, type Source } from "./consolidation/source.ts";
export { type FieldPlan, type View, type ViewFields, view } from "./consolidation/view.ts";
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
export {
  type AnyUpstream,
  type IdentityFact,
  type Upstream,
  type UpstreamOptions,
  upstream,
} from "./upstream/upstream.ts";

import type { AnyLoader } from "./consolidation/loaders/loader.ts";
import type { Convertible } from "./consolidation/views/source.ts";
import type { PublicService } from "./service.ts";
import type { AnyUpstream } from "./upstream/upstream.ts";

/**
 * A whole API, as its own folder declares it: what a gateway serves, and how that is made from what lies behind it.
 *
 * A gateway needs the services and the upstreams; the rest is for the commands, which check and list it. A view that only
 * other views use need not be given by itself.
 */
export interface App {
  /** The public services, made by `service()`. */
  readonly services: readonly PublicService[];
  /** The internal services, made by `upstream()`. */
  readonly upstreams: readonly AnyUpstream[];
  /** How public messages are made, by `view()`. */
  readonly views: readonly Convertible[];
  /** How entities are fetched, by `loader()` and `groupLoader()`. */
  readonly loaders: readonly AnyLoader[];
  /** How internal requests are made, by `mapRequest()` and `mapPagedRequest()`. */
  readonly requests: readonly Convertible[];
}

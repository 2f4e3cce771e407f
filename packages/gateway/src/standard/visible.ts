import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { policyOf } from "../policy/method-policy.ts";
import { type Audience, audiences } from "../policy/rights.ts";
import type { PublicService } from "../service.ts";

/** What an audience may see of a public service. */
export interface VisibleService {
  readonly desc: DescService;
  /** The methods that are made for the audience; at least one. */
  readonly methods: readonly DescMethod[];
}

/**
 * The services that there are for an audience. One that has no method for it is left out: its name alone would say that
 * there is something.
 */
export function visibleTo(audience: Audience, services: readonly PublicService[]): readonly VisibleService[] {
  return services.flatMap((service) => {
    const methods = service.desc.methods.filter((method) => isFor(audience, method, service));
    return methods.length === 0 ? [] : [{ desc: service.desc, methods }];
  });
}

function isFor(audience: Audience, method: DescMethod, { policy: given }: PublicService): boolean {
  const policy = policyOf(method, given);
  // The list of what is wrong with it, which keeps the gateway from starting.
  if (!("audience" in policy)) return false;
  return audiences.indexOf(audience) >= audiences.indexOf(policy.audience);
}

/** Works something out for each audience, once. */
export function forEachAudience<T>(make: (audience: Audience) => T): Readonly<Record<Audience, T>> {
  return { public: make("public"), partner: make("partner"), internal: make("internal") };
}

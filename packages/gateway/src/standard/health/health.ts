import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { PublicError } from "../../errors.ts";
import {
  Health,
  type HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as Status,
} from "../../gen/grpc/health/v1/health_pb.ts";
import type { Readiness } from "../../readiness.ts";
import { type PublicService, standardService } from "../../service.ts";
import { forEachAudience, visibleTo } from "../visible.ts";
import { createWatchers, type WatcherLimits } from "./watchers.ts";

/** What health is told by. */
export interface HealthParts {
  /** The services of the API. */
  readonly services: readonly PublicService[];
  readonly readiness: Pick<Readiness, "ready" | "watch">;
  /**
   * How often a stream repeats a status that does not change, in milliseconds: shorter than what ends streams on which
   * nothing happens. Whoever watches may take a stream that ends for a service that is down.
   */
  readonly repeatMs: number;
  /** Default: 1,000 in all, 100 for each address. */
  readonly watchers?: WatcherLimits;
}

type Answer = MessageInitShape<typeof HealthCheckResponseSchema>;

/** More are not listed: a limit of the protocol's own implementations. */
const maxListed = 100;

/** The longest names of services are far shorter. */
const maxRequestBytes = 4_096;

/**
 * gRPC's health protocol (`grpc.health.v1.Health`), for load balancers and clients that speak gRPC. It says the same as
 * `/readyz`: the name "" is the gateway, and each service of the API is served as long as the gateway is ready. A service
 * that the caller's audience may not see is unknown, like one that does not exist.
 *
 * Errors: `not_found` for a check of an unknown service; `resource_exhausted` for a list of more than 100 services, and
 * when too many watch already.
 *
 * @example
 * const health = createHealth({ services, readiness, repeatMs: 30_000 });
 * const methods = createMethodTable([...services, health]);
 */
export function createHealth({
  services,
  readiness,
  repeatMs,
  watchers: limits,
}: HealthParts): PublicService {
  const known = forEachAudience(
    (audience) => new Set(["", ...visibleTo(audience, services).map(({ desc }) => desc.typeName)]),
  );
  const watchers = createWatchers(limits ?? { inAll: 1_000, perAddress: 100 });
  const namesFor = ({ rights }: Call) => known[rights.audience];
  const now = (): Status => (readiness.ready() ? Status.SERVING : Status.NOT_SERVING);

  async function* watch(service: string, call: Call): AsyncIterable<Answer> {
    const leave = watchers.enter(call.record.address);
    const changes = listen(readiness, call.signal);
    try {
      // Which services there are does not change while the gateway runs.
      const isKnown = namesFor(call).has(service);
      while (!call.signal.aborted) {
        yield { status: isKnown ? now() : Status.SERVICE_UNKNOWN };
        await changes.next(repeatMs);
      }
      call.signal.throwIfAborted();
    } finally {
      changes.stop();
      leave();
    }
  }

  const service = standardService(
    Health,
    {
      check: ({ service }, call) => {
        if (!namesFor(call).has(service)) throw new PublicError("NOT_FOUND", "There is no such service.");
        return { status: now() };
      },
      list: (_request, call) => {
        const names = namesFor(call);
        if (names.size > maxListed)
          throw new PublicError(
            "ANSWER_TOO_LARGE",
            `There are more than ${maxListed} services: check one by its name.`,
          );
        const status = now();
        return { statuses: Object.fromEntries([...names].map((name) => [name, { status }])) };
      },
      watch: ({ service }, call) => watch(service, call),
    },
    { access: { case: "anonymous", value: true }, maxRequestBytes },
  );
  // Balancers may ask from the address that strangers come from, who could use up what that may call: and then a process
  // that is well would be taken for one that is not.
  return { ...service, isFree: true };
}

/** Changes of readiness, for one stream: none is lost between two waits. */
function listen(readiness: Pick<Readiness, "watch">, signal: AbortSignal) {
  let pending = false;
  let wake = (): void => {};
  const notice = (): void => {
    pending = true;
    wake();
  };
  const unwatch = readiness.watch(notice);
  signal.addEventListener("abort", notice, { once: true });
  return {
    /** Resolves at the next change, or at the end of the call; or when so much time has passed without. */
    next: async (ms: number): Promise<void> => {
      if (!pending) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = setTimeout(resolve, ms).unref();
        wake = resolve;
        await promise;
        clearTimeout(timer);
      }
      pending = false;
    },
    stop: (): void => {
      unwatch();
      signal.removeEventListener("abort", notice);
    },
  };
}

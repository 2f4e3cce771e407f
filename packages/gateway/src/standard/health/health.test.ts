import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Call } from "../../call.ts";
import { PublicError } from "../../errors.ts";
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Status,
} from "../../gen/grpc/health/v1/health_pb.ts";
import type { PublicService } from "../../service.ts";
import { testCall, thrownBy } from "../../testing/call.ts";
import { curator, museum } from "../../testing/museum.ts";
import { createHealth, type HealthParts } from "./health.ts";

const museumName = "acme.api.museum.v1.MuseumService";
const curatorName = "acme.api.museum.v1.CuratorService";

let ready: boolean;
let listeners: Set<() => void>;
let ended: AbortController;
beforeEach(() => {
  vi.useFakeTimers();
  ready = true;
  listeners = new Set();
  ended = new AbortController();
});
afterEach(() => {
  expect(listeners.size).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("check", () => {
  test.each(["", museumName])("says whether the gateway is ready, for %j", (service) => {
    expect(check(service)).toEqual({ status: Status.SERVING });
    ready = false;
    expect(check(service)).toEqual({ status: Status.NOT_SERVING });
  });

  test.each(["acme", `${museumName}/GetExhibit`, "__proto__", "grpc.health.v1.Nothing"])(
    "does not know %j",
    async (service) => {
      const error = await thrownBy(() => check(service));
      expect(error instanceof PublicError && error.reason).toBe("NOT_FOUND");
    },
  );

  test("knows a service for the company itself to the company alone", async () => {
    const rights = { has: () => false, key: "internal", audience: "internal" } as const;
    expect(check(curatorName, { rights })).toEqual({ status: Status.SERVING });
    expect(await thrownBy(() => check(curatorName))).toBeInstanceOf(PublicError);
  });
});

describe("list", () => {
  test("has every service that the caller may know of", () => {
    expect(list()).toEqual({
      statuses: { "": { status: Status.SERVING }, [museumName]: { status: Status.SERVING } },
    });
  });

  test("is refused where there would be more than 100", async () => {
    const many = Array.from({ length: 100 }, (_, index): PublicService => {
      const desc = { ...museum.desc, typeName: `acme.Service${index}` };
      return { ...museum, desc };
    });
    const error = await thrownBy(() => list({ services: many }));
    expect(error instanceof PublicError && error.reason).toBe("ANSWER_TOO_LARGE");
    expect(list({ services: many.slice(1) })).toBeDefined();
  });
});

describe("watch", () => {
  test("says at once how it is, and then every change", async () => {
    const seen = watch(museumName);
    expect(await seen.next()).toEqual(sent(Status.SERVING));
    change(false);
    expect(await seen.next()).toEqual(sent(Status.NOT_SERVING));
    const next = seen.next();
    change(true);
    expect(await next).toEqual(sent(Status.SERVING));
    await seen.return?.();
  });

  test("loses no change that happens between two messages", async () => {
    const seen = watch("");
    await seen.next();
    change(false);
    change(true);
    change(false);
    expect(await seen.next()).toEqual(sent(Status.NOT_SERVING));
    await seen.return?.();
  });

  test("goes on for a service that nobody knows", async () => {
    const seen = watch("acme.Nothing");
    expect(await seen.next()).toEqual(sent(Status.SERVICE_UNKNOWN));
    change(false);
    expect(await seen.next()).toEqual(sent(Status.SERVICE_UNKNOWN));
    await seen.return?.();
  });

  test("repeats itself before anybody on the way takes the stream for dead", async () => {
    const seen = watch("");
    await seen.next();
    const next = seen.next();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await next).toEqual(sent(Status.SERVING));
    await seen.return?.();
  });

  test("ends with its call, for the same reason, while nothing happens", async () => {
    const seen = watch("");
    await seen.next();
    const next = seen.next();
    const reason = new PublicError("RESTARTING");
    ended.abort(reason);
    expect(await thrownBy(next)).toBe(reason);
  });

  test("is refused when too many watch, and possible again when they have left", async () => {
    const health = make({ watchers: { inAll: 1, perAddress: 1 } });
    const first = watch("", health);
    await first.next();
    const error = await thrownBy(watch("", health).next());
    expect(error instanceof PublicError && error.reason).toBe("RATE_LIMIT_EXCEEDED");
    await first.return?.();
    const second = watch("", health);
    expect(await second.next()).toEqual(sent(Status.SERVING));
    await second.return?.();
  });
});

function make(parts: Partial<HealthParts> = {}): PublicService {
  return createHealth({
    services: [museum, curator],
    readiness: {
      ready: () => ready,
      watch: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    repeatMs: 1_000,
    ...parts,
  });
}

function change(to: boolean): void {
  ready = to;
  for (const listener of listeners) listener();
}

function check(service: string, call: Partial<Call> = {}): unknown {
  return run(make(), "check", { service }, testCall(call));
}

function list(parts: Partial<HealthParts> = {}): unknown {
  return run(make(parts), "list", {}, testCall());
}

function watch(service: string, health = make()): AsyncIterator<HealthCheckResponse> {
  const stream = run(health, "watch", { service }, testCall({ signal: ended.signal }));
  return (stream as AsyncIterable<HealthCheckResponse>)[Symbol.asyncIterator]();
}

/** Runs a handler as `invoke` does. */
function run(
  { desc, handlers }: PublicService,
  name: string,
  request: Record<string, unknown>,
  call: Call,
): unknown {
  const method = desc.method[name];
  if (method === undefined) throw new Error(`there is no method ${name}`);
  const handler = handlers[name] as unknown as (request: unknown, call: Call) => unknown;
  return handler(create(method.input, request), call);
}

function sent(status: Status): object {
  return { done: false, value: { status } };
}

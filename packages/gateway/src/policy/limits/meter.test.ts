import { describe, expect, test } from "vitest";
import { service } from "../../service.ts";
import { authenticated } from "../../testing/principals.ts";
import { policy } from "../../testing/protos.ts";
import { createMethodTable, entryOf } from "../method-table.ts";
import { anonymous, type Principal } from "../principal.ts";
import { createMeter, meterProblems } from "./meter.ts";
import type { Charge } from "./rate-limit.ts";

const nothing = () => ({});
const methods = createMethodTable([
  service(policy.StrictService, {
    inherit: nothing,
    inheritChange: nothing,
    tighten: nothing,
    bucket: nothing,
  }),
]);
const { tighten, bucket } = policy.StrictService.method;
const common = {
  authenticated: [{ calls: 100, windowSeconds: 60 }],
  anonymous: [{ calls: 10, windowSeconds: 60 }],
};

async function charged(principal: Principal, method: typeof tighten | typeof bucket, limits = common) {
  const bills: [string, readonly Charge[]][] = [];
  const headers: Record<string, string> = {};
  const meter = createMeter(async (key, charges) => {
    bills.push([key, charges]);
    return { headers: { ratelimit: "left" } };
  }, limits);
  const setHeader = (name: string, value: string): void => {
    headers[name] = value;
  };
  await meter.charge(entryOf(methods, method), principal, { record: { address: "10.0.0.1" }, setHeader });
  return { bills, headers };
}

describe("a call is paid for", () => {
  test("by the caller, whatever its address: what the method costs", async () => {
    const ada = authenticated("ada");
    const { bills, headers } = await charged(ada, tighten);
    expect(bills).toEqual([[ada.id, [{ scope: "common", limits: common.authenticated, cost: 5 }]]]);
    expect(headers).toEqual({ ratelimit: "left" });
  });

  test("by the address of a caller without credentials", async () => {
    const { bills } = await charged(anonymous, tighten);
    expect(bills).toEqual([["address:10.0.0.1", [{ scope: "common", limits: common.anonymous, cost: 5 }]]]);
  });

  test("from limits of the caller's own, if it has some", async () => {
    const limits = [{ calls: 3, windowSeconds: 1 }];
    const { bills } = await charged({ ...authenticated("partner"), limits }, tighten);
    expect(bills[0]?.[1][0]?.limits).toBe(limits);
  });

  test("from the method's own limit besides", async () => {
    const { bills } = await charged(authenticated("ada"), bucket);
    expect(bills[0]?.[1]).toEqual([
      { scope: "common", limits: common.authenticated, cost: 2 },
      {
        scope: "acme.api.policy.v1.StrictService/Bucket",
        limits: [{ calls: 3, windowSeconds: 60 }],
        cost: 1,
      },
    ]);
  });

  test("by nobody, where there is no limit", async () => {
    const off = { authenticated: [], anonymous: [] };
    expect(await charged(authenticated("ada"), tighten, off)).toEqual({ bills: [], headers: {} });
    expect((await charged(authenticated("ada"), bucket, off)).bills).toHaveLength(1);
  });
});

test("a method that costs more than anyone can have is found at start", () => {
  expect(meterProblems(methods.values(), common)).toEqual([]);
  const tight = { authenticated: [{ calls: 4, windowSeconds: 60 }], anonymous: [] };
  expect(meterProblems(methods.values(), tight)).toEqual([
    expect.stringContaining(
      "acme.api.policy.v1.StrictService/Tighten: (portico.v1.method).rate_limit.cost: a call costs 5",
    ),
  ]);
});

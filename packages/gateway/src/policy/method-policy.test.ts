import { create, type DescMethod } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { MethodPolicySchema } from "../gen/portico/v1/policy_pb.ts";
import { policy, pub, readmask } from "../testing/protos.ts";
import { policyOf } from "./method-policy.ts";

const strict = policy.StrictService.method;
const loose = policy.LooseService.method;
const wrong = policy.WrongService.method;
/** The name of a method, as problems begin with it. */
const nameOf = (method: DescMethod) => `${method.parent.typeName}.${method.name}`;

describe("the policy of a method", () => {
  test("is what its option says", () => {
    expect(policyOf(pub.WarehouseService.method.listCrates)).toEqual({
      access: { kind: "permission", permissions: ["crates.read"] },
      audience: "public",
      conditions: [],
      cost: 1,
      bucket: undefined,
      cache: undefined,
      timeoutMs: undefined,
      maxRequestBytes: undefined,
    });
  });

  test("is that of its service, where it says nothing", () => {
    expect(policyOf(strict.inherit)).toEqual({
      access: { kind: "permission", permissions: ["strict.use"] },
      audience: "partner",
      conditions: ["principal.tenant == 'acme'"],
      cost: 2,
      bucket: undefined,
      cache: { ttlMs: 10_000, staleMs: 0, scope: "principal" },
      timeoutMs: 5_000,
      maxRequestBytes: 1_000,
    });
  });

  test("has no cache from its service, where there can be none", () => {
    expect(policyOf(strict.inheritChange)).toMatchObject({ cache: undefined });
  });

  test("may be stricter than that of its service: permissions and conditions add up", () => {
    expect(policyOf(strict.tighten)).toEqual({
      access: { kind: "permission", permissions: ["strict.use", "strict.more"] },
      audience: "internal",
      conditions: ["principal.tenant == 'acme'", "request.name == principal.subject"],
      cost: 5,
      bucket: undefined,
      cache: { ttlMs: 1_000, staleMs: 0, scope: "principal" },
      timeoutMs: 1_000,
      maxRequestBytes: 500,
    });
  });

  test("stands next to its rpc alone: another one would take its place", () => {
    const given = create(MethodPolicySchema, { access: { case: "anonymous", value: true } });
    const { listCrates } = pub.WarehouseService.method;
    expect(policyOf(listCrates, given)).toEqual([
      `${nameOf(listCrates)} has a policy next to its rpc, and another one in its service, which would take its place: remove the latter`,
    ]);
  });

  test("names the field of the answer that a read mask is about", () => {
    const { compareCrates, findCrate } = readmask.ReadMaskService.method;
    expect(policyOf(compareCrates)).toMatchObject({ readMaskField: "crate" });
    expect(policyOf(findCrate)).toMatchObject({ readMaskField: undefined });
  });

  test("may have a limit of its own besides the cost of its service", () => {
    expect(policyOf(strict.bucket)).toMatchObject({ cost: 2, bucket: { calls: 3, windowSeconds: 60 } });
  });
});

describe("a policy that is refused", () => {
  test.each<[string, DescMethod, readonly string[]]>([
    ["opens what its service closes", loose.open, ["anonymous"]],
    ["opens to all with credentials what its service closes", loose.halfOpen, ["authenticated"]],
    ["allows more calls at once, though no more a second", loose.burst, ["rate_limit.bucket"]],
    [
      "is more generous in anything else",
      loose.generous,
      ["audience", "rate_limit.bucket", "timeout", "max_request_bytes", "cache"],
    ],
  ])("%s", (_, method, fields) => {
    expect(policyOf(method)).toEqual(
      fields.map(
        (field) =>
          `${nameOf(method)}: (portico.v1.method).${field} is more generous than what LooseService says for all of its methods: a method may only be stricter`,
      ),
    );
  });

  test("a service that opens every method by default", () => {
    expect(policyOf(policy.OpenByDefaultService.method.anything)).toEqual([
      "acme.api.policy.v1.OpenByDefaultService: (portico.v1.service).anonymous: would open every new rpc by accident: write it into the rpcs that are meant",
    ]);
  });

  test("a service that names a field of one method's answer for all of them", () => {
    expect(policyOf(readmask.MaskedByDefaultService.method.meetCrate)).toEqual([
      "acme.api.readmask.v1.MaskedByDefaultService: (portico.v1.service).read_mask_field: names a field of one method's answer: write it into the rpc",
    ]);
  });

  test("breaks the rules of its options: each is named, with what would do", () => {
    const option = `${nameOf(wrong.wrong)}: (portico.v1.method)`;
    expect(policyOf(wrong.wrong)).toEqual([
      `${option}.permission: must be lower-case words joined by dots, such as "orders.read"`,
      `${option}.rate_limit.cost: must be greater than or equal to 1 and less than or equal to 1000000`,
      `${option}.cache.ttl: value is required`,
      `${option}.timeout: must be greater than or equal to 0.001s and less than or equal to 86400s`,
      `${option}.max_request_bytes: must be greater than or equal to 1 and less than or equal to 4194304`,
    ]);
    expect(policyOf(wrong.noLimit)).toEqual([
      expect.stringContaining("rate_limit.bucket.limit: "),
      expect.stringContaining("rate_limit.bucket.window: "),
    ]);
  });
});

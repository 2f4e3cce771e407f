import { create, type Message, toBinary } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { FieldDescriptorProto_Type } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { services } from "../../packages/gateway/src/app/app.ts";
import { StringRulesSchema } from "../../packages/gateway/src/gen/buf/validate/validate_pb.ts";
import { createValidate } from "../../packages/gateway/src/policy/validation/validate.ts";
import { ruledMessage } from "../../packages/gateway/src/testing/ruled-message.ts";
import { overH1 } from "../exchange.ts";
import { ms, unhurried } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { scale } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import {
  conditionsOf,
  type Hostile,
  hostileMessages,
  publicServices,
  type Run,
  runsOf,
  worst,
} from "./hostile-messages.ts";

interface Slowest {
  readonly ms: number;
  readonly what: string;
}

test("D13 no rule takes long with 64 KiB", async () => {
  const slowest: Record<string, Slowest> = { "rules of validation": none, conditions: none, formats: none };
  let tried = 0;
  const note = (kind: string, where: string, inputs: readonly Hostile[], runs: readonly Run[]) => {
    tried += inputs.length * runs.length;
    const { ms, what } = worst(inputs, runs);
    if (ms > (slowest[kind] ?? none).ms) slowest[kind] = { ms, what: `${where} ${what}` };
  };
  for (const method of (await publicServices()).flatMap(({ methods }) => methods)) {
    const validate = createValidate([method.input]);
    const check = (message: Message) => validate(method.input, message);
    const messages = [...hostileMessages(method.input)];
    note("rules of validation", method.name, messages, [check]);
    // As for a call: what is not valid goes no further.
    const valid = messages.filter(({ message }) => check(message).length === 0);
    note("conditions", method.name, valid, conditionsOf(method).flatMap(runsOf));
  }
  for (const field of StringRulesSchema.fields.filter(({ oneof }) => oneof?.name === "well_known")) {
    const rules = create(StringRulesSchema);
    reflect(StringRulesSchema, rules).set(field, field.enum === undefined ? true : 1);
    const type = FieldDescriptorProto_Type.STRING;
    const desc = ruledMessage({ name: "text", type, rules: { type: { case: "string", value: rules } } });
    const validate = createValidate([desc]);
    note("formats", field.name, [...hostileMessages(desc)], [(message) => validate(desc, message)]);
  }
  for (const [kind, worst] of Object.entries(slowest))
    figure({
      id: "D13",
      test: `every one of the ${kind} on 64 KiB, ${tried} checks in all`,
      expected: "<= 10 ms",
      measured: `at most ${ms(worst.ms)} (${worst.what.slice(0, 100)})`,
      reached: worst.ms <= 10,
    });
  // What is quadratic takes far longer, on any machine.
  for (const { ms, what } of Object.values(slowest)) expect(ms, what).toBeLessThan(1_000);
});

test("D13 nor does a gateway stall that is sent them", async () => {
  await using upstreams = await startUpstreams();
  await using gateway = await startGateway(upstreams.urls, { ...unhurried, DEFAULT_TIMEOUT_MS: "10000" });
  const authorization = `Bearer ${await gateway.token("admin")}`;
  const unary = services
    .flatMap(({ desc }) => desc.methods)
    .filter(({ methodKind }) => methodKind === "unary");
  const statuses: Record<number, number> = {};
  await gateway.probe();
  for (const method of unary)
    for (const { message } of [...hostileMessages(method.input)].filter((_, index) => index % every === 0)) {
      const path = `/${method.parent.typeName}/${method.name}`;
      const headers = { "content-type": "application/proto", authorization };
      const { status } = await overH1(gateway.url, { path, headers, body: toBinary(method.input, message) });
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  const { loopLagMs } = await gateway.probe();
  figure({
    id: "D13",
    test: `the same sent to ${unary.length} methods: parsing, rules, conditions and all`,
    expected: "<= 10 ms",
    measured: `the longest stall ${ms(loopLagMs.max)}, p99 ${ms(loopLagMs.p99)}; statuses ${JSON.stringify(statuses)}`,
    reached: loopLagMs.max <= 10 + restMs,
  });
  // What is not refused is as it may be, and small enough.
  expect(Object.keys(statuses).filter((status) => Number(status) >= 500)).toEqual([]);
  expect(gateway.crashes()).toEqual([]);
});

const none: Slowest = { ms: 0, what: "nothing" };
/** There are thousands, most of which differ little. */
const every = Math.max(1, Math.round(20 / scale));
/** What the probe sees of a process that does nothing. */
const restMs = 5;

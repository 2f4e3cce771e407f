import {
  create,
  createRegistry,
  type DescField,
  type DescMessage,
  fromBinary,
  fromJson,
  type Message,
  type MessageShape,
  toBinary,
  toJson,
  toJsonString,
} from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { type Call, computed, type Paged, type View, view } from "@portico/gateway";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { inMemory, testCall } from "../packages/gateway/src/testing/call.ts";
import { cabinetViews, curioView } from "./bazaar/cabinet-views.ts";
import { canary, isSecret, unknownField, withoutSecrets } from "./bazaar/canaries.ts";
import { declaredBy, type Plan } from "./bazaar/declared.ts";
import { curios, pubCurios } from "./bazaar/protos.ts";
import { curio, requests } from "./bazaar/requests.ts";
import { createRoutes } from "./bazaar/routes.ts";
import { upstreams } from "./bazaar/upstreams.ts";
import { purchaseViews } from "./bazaar/views.ts";
import { arbitraryMessage } from "./other-protos/arbitrary-message.ts";

// Properties of every view and every request map of the bazaar, for any message: what they make is worked out anew from
// their plans, and by reflection.

/** Big messages take minutes to shrink: a failure is shown as small as it got by then. */
const options = { numRuns: 60, interruptAfterTimeLimit: 15_000 };
const registry = createRegistry(DurationSchema);

/** What makes a message of a message: a view, or a request map. */
interface Maker extends Plan {
  readonly make: (message: Message, call: Call) => Promise<Message>;
}

const views = [...cabinetViews, ...purchaseViews].map((made) => ofView(made as View<never, Message>));
const maps = requests.map(ofMap);
const named = (makers: readonly Maker[]): [string, Maker][] =>
  makers.map((maker) => [`${maker.from.typeName} as ${maker.to.typeName}`, maker]);

describe("for any internal message, no secret gets out", () => {
  test.each(named(views))("%s", async (_, maker) => {
    await forAny(maker, { text, unknown }, async (message) => {
      const made = await settled(maker.make(message, bazaarCall()));
      if (typeof made === "string") {
        expect(made).not.toContain(canary);
        return;
      }
      expect(bytesOf(maker.to, made).includes(canary)).toBe(false);
      expect(toJsonString(maker.to, made, { registry })).not.toContain(canary);
    });
  });

  test("and a view that gives one away is caught", async () => {
    const leaking = view(curios.KnobSchema, pubCurios.KnobSchema, { name: "secretCode" });
    const made = await leaking.one(create(curios.KnobSchema, { secretCode: canary }), bazaarCall());
    expect(bytesOf(pubCurios.KnobSchema, made).includes(canary)).toBe(true);
  });
});

describe("for any message, what is made depends on nothing but what the plan declares", () => {
  test.each(named([...views, ...maps]))("%s", async (_, maker) => {
    await forAny(maker, { text, unknown }, async (message) => {
      const declared = declaredBy(maker, maker.from, message);
      const [made, again] = await Promise.all([outcome(maker, message), outcome(maker, declared)]);
      expect(again).toEqual(made);
    });
  });

  test("and a view that takes more than it declares is caught", async () => {
    const honest = view(curios.KnobSchema, pubCurios.KnobSchema, {
      name: computed(["name", "secretCode"], (name, secret) => name + secret),
    });
    const liar = ofView({ ...honest, fields: { ...honest.fields, name: { kind: "path", reads: ["name"] } } });
    const message = create(curios.KnobSchema, { name: "a", secretCode: "b" });
    const declared = declaredBy(liar, liar.from, message);
    expect(await outcome(liar, declared)).not.toEqual(await outcome(liar, message));
  });
});

describe("for any message, what is made can be sent and read again", () => {
  test.each(named([...views, ...maps]))("%s", async (_, maker) => {
    await forAny(maker, {}, async (message) => {
      const made = await settled(maker.make(message, bazaarCall()));
      // A page of a negative size, or an enum that nobody knows.
      if (typeof made === "string") return;
      // What is written is compared, not the messages: NaN is not equal to itself.
      const bytes = toBinary(maker.to, made);
      expect(toBinary(maker.to, fromBinary(maker.to, bytes))).toEqual(bytes);
      const json = toJson(maker.to, made, { registry });
      expect(toJson(maker.to, fromJson(maker.to, json, { registry }), { registry })).toEqual(json);
    });
  });
});

describe("for any message, all gives what one gives, in the same order", () => {
  test.each(named(views))("%s", async (_, maker) => {
    const of = maker as Maker & { readonly view: View<never, Message> };
    const messages = fc.array(arbitraryMessage<DescMessage>(maker.from), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(messages, async (messages) => {
        const call = bazaarCall();
        const made = await settled(of.view.all(messages as never[], call));
        const single = await settled(Promise.all(messages.map((message) => of.make(message, call))));
        const write = (all: readonly Message[] | string) =>
          typeof all === "string" ? all : all.map((message) => bytesOf(maker.to, message).toString("hex"));
        expect(write(made)).toEqual(write(single));
      }),
      { ...options, numRuns: 20 },
    );
  });
});

describe("a curio has the same numbers on both sides", () => {
  test("so what the public gets are the bytes of the internal curio without its secrets", async () => {
    const maker = ofView(curioView as unknown as View<never, Message>);
    await forAny(maker, { unknown }, async (message) => {
      const made = await maker.make(message, bazaarCall());
      const wanted = bytesOf(curios.CurioSchema, withoutSecrets(curios.CurioSchema, message as curios.Curio));
      expect(bytesOf(maker.to, made).equals(wanted)).toBe(true);
    });
  });

  test("and what comes back through the request map are the same bytes again", async () => {
    await forAny(ofMap(curio), {}, async (message) => {
      const kept = curio(message as pubCurios.Curio);
      const wanted = bytesOf(pubCurios.CurioSchema, message as pubCurios.Curio);
      expect(bytesOf(curios.CurioSchema, kept).equals(wanted)).toBe(true);
      const given = await curioView.one(kept, bazaarCall());
      expect(bytesOf(pubCurios.CurioSchema, given).equals(wanted)).toBe(true);
    });
  });
});

test("a path goes through a message whose fields are named like a oneof's", async () => {
  const cased = view(curios.CurioSchema, pubCurios.VerdictSchema, {
    case: "verdict.case",
    value: "verdict.value",
  });
  const made = await cased.one(
    create(curios.CurioSchema, { verdict: create(curios.VerdictSchema, { case: "a", value: "b" }) }),
    bazaarCall(),
  );
  expect(toJson(pubCurios.VerdictSchema, made)).toEqual({ case: "a", value: "b" });
});

test("a key that every object has is a key like any other", async () => {
  const curio = create(curios.CurioSchema);
  for (const key of ["__proto__", "constructor", "toString", "$typeName"]) {
    const own = { value: key, enumerable: true, configurable: true, writable: true };
    const knob = create(curios.KnobSchema, { name: key });
    Object.defineProperty(curio.textsByString, key, own);
    Object.defineProperty(curio.knobsByName, key, { ...own, value: knob });
    Object.defineProperty(curio.gradesByName, key, { ...own, value: curios.Grade.BAD });
  }
  const made = await curioView.one(curio, bazaarCall());
  expect(bytesOf(pubCurios.CurioSchema, made)).toEqual(bytesOf(curios.CurioSchema, curio));
  expect(Object.keys(made.knobsByName)).toContain("__proto__");
});

function forAny(
  { from }: Maker,
  parts: Parameters<typeof arbitraryMessage>[1],
  check: (message: Message) => Promise<void>,
): Promise<void> {
  return fc.assert(fc.asyncProperty(arbitraryMessage<DescMessage>(from, parts), check), options);
}

function ofView<T extends View<never, Message>>(view: T): Maker & { readonly view: T } {
  const { from, to, fields } = view;
  return { from, to, fields, view, make: (message, call) => view.one(message as never, call) };
}

function ofMap(map: AnyMap): Maker {
  const { from, to, fields } = map;
  const make = async (message: Message) => {
    const made = map(message as never);
    return "$typeName" in made ? made : made.request;
  };
  return { from, to, fields, make };
}

/** A request map, or one for pages. */
type AnyMap = Plan & ((message: never) => Message | Paged<Message>);

/** What a message becomes, in bytes, or the error that it becomes. */
async function outcome({ make, to }: Maker, message: Message): Promise<string> {
  const made = await settled(make(message, bazaarCall()));
  return typeof made === "string" ? made : bytesOf(to, made).toString("hex");
}

/** What a promise ends in; an error as a text. */
async function settled<T>(work: Promise<T>): Promise<T | string> {
  try {
    return await work;
  } catch (error) {
    return String(error);
  }
}

function text(field: DescField): fc.Arbitrary<string> {
  const any = fc.string({ maxLength: 5 });
  return isSecret(field) ? any.map((more) => `${canary}-${more}`) : any;
}

/** What both sides share, such as a `Timestamp`, is copied as a whole. */
function unknown({ typeName }: DescMessage) {
  return typeName.startsWith("google.protobuf.") ? undefined : [unknownField()];
}

function bazaarCall(): Call {
  return testCall({ upstreams: inMemory(upstreams, createRoutes().routes) });
}

function bytesOf<D extends DescMessage>(desc: D, message: MessageShape<D>): Buffer {
  return Buffer.from(toBinary(desc, message));
}

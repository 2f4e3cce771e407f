import {
  create,
  createRegistry,
  fromBinary,
  fromJson,
  isFieldSet,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { mapPagedRequest, PublicError } from "@portico/gateway";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { internal, pub } from "../../packages/gateway/src/testing/protos.ts";
import {
  crate,
  crateView,
  summaryView,
  warehouseCall,
} from "../../packages/gateway/src/testing/warehouse.ts";
import { arbitraryMessage } from "./arbitrary-message.ts";

const registry = createRegistry(DurationSchema);
const { call } = warehouseCall();

test("for any message, a copied field has the same value and the same presence", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryMessage(internal.CrateSchema, { depth: 1 }), async (message) => {
      const made = await summaryView.one(message, call);
      for (const field of pub.CrateSummarySchema.fields) {
        const origin = internal.CrateSchema.field[field.localName as keyof typeof internal.CrateSchema.field];
        expect([field.name, isFieldSet(made, field)]).toEqual([field.name, isFieldSet(message, origin)]);
        expect(made[field.localName as keyof typeof made]).toEqual(
          message[field.localName as keyof typeof message],
        );
      }
    }),
  );
});

test("for any message, what a view makes can be sent and read again", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryMessage(internal.CrateSchema), async (message) => {
      const made = await crateView.one(message, warehouseCall().call);
      // What is written is compared, not the messages: NaN is not equal to itself.
      const bytes = toBinary(pub.CrateSchema, made);
      expect(toBinary(pub.CrateSchema, fromBinary(pub.CrateSchema, bytes))).toEqual(bytes);
      const json = toJson(pub.CrateSchema, made, { registry });
      expect(toJson(pub.CrateSchema, fromJson(pub.CrateSchema, json, { registry }), { registry })).toEqual(
        json,
      );
    }),
  );
});

test("for any page, all gives what one gives, in the same order, with as few calls as for distinct keys", async () => {
  const keeperIds = fc.array(fc.constantFrom("", "ada", "bob", "cleo", "dan", "nobody"), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(keeperIds, async (ids) => {
      const { call, asked } = warehouseCall();
      const made = await crateView.all(
        ids.map((keeperId) => crate({ keeperId })),
        call,
      );
      const single = await Promise.all(
        ids.map((keeperId) => crateView.one(crate({ keeperId }), warehouseCall().call)),
      );
      expect(made).toEqual(single);
      const distinct = new Set(ids.filter((id) => id !== ""));
      const sent = asked.keepers.flat();
      expect(sent).toHaveLength(new Set(sent).size);
      expect(sent.filter((id) => !id.startsWith("chief-")).sort()).toEqual([...distinct].sort());
      // Keepers and then their chiefs, three to a call.
      expect(asked.keepers.length).toBeLessThanOrEqual(2 * Math.ceil(distinct.size / 3));
    }),
  );
});

describe("page tokens", () => {
  const listCrates = mapPagedRequest(
    pub.ListCratesRequestSchema,
    internal.ListCratesRequestSchema,
    {},
    { defaultSize: 50, maxSize: 500, handled: ["aisle", "tags"] },
  );
  const request = (aisle: string, pageToken = "") =>
    create(pub.ListCratesRequestSchema, { aisle, pageToken });
  const token = fc.string({ minLength: 1, unit: "grapheme" });

  test("any upstream token comes back for the same listing, and for no other", () => {
    fc.assert(
      fc.property(
        token,
        fc.string({ unit: "grapheme" }),
        fc.string({ unit: "grapheme" }),
        (upstreamToken, aisle, other) => {
          const next = listCrates(request(aisle)).next(upstreamToken);
          expect(listCrates(request(aisle, next)).request.pageToken).toBe(upstreamToken);
          if (other !== aisle) expect(() => listCrates(request(other, next))).toThrow(PublicError);
        },
      ),
    );
  });

  test("any text that was not given out is refused", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ minLength: 1 }), fc.base64String({ minLength: 1 })), (text) => {
        expect(() => listCrates(request("A", text))).toThrow(PublicError);
      }),
    );
  });

  test("a token in which any letter was changed is refused", () => {
    const whole = listCrates(request("A")).next("cursor-1");
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.constantFrom(..."AZaz09-_"), (at, letter) => {
        fc.pre(whole[at] !== letter);
        const changed = `${whole.slice(0, at)}${letter}${whole.slice(at + 1)}`;
        expect(() => listCrates(request("A", changed))).toThrow(PublicError);
      }),
    );
  });
});

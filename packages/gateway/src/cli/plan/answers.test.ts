import { create, type DescMessage, type MessageInitShape, ScalarType } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { describe, expect, test } from "vitest";
import { catalog, internal, legacy, rules } from "../../testing/protos.ts";
import { crateView, keepersById, scansBySerial } from "../../testing/warehouse.ts";
import { createMakeAnswer } from "./answers.ts";
import { loaderKeysOf } from "./loaders.ts";
import { createMint } from "./mint.ts";
import { makeRequest } from "./requests.ts";

const { method } = internal.WarehouseService;
const loaderKeys = loaderKeysOf({ loaders: [keepersById, scansBySerial], views: [crateView] });
const making = { rows: 4, most: Number.POSITIVE_INFINITY, match: "name", loaderKeys } as const;
const asked = <D extends DescMessage>(desc: D, init: MessageInitShape<D>) =>
  reflect(desc, create(desc, init));

describe("an answer that is made up", () => {
  const makeAnswer = createMakeAnswer(createMint(), making);

  test("has an entity for each key, which no other field has", () => {
    const request = asked(internal.BatchGetKeepersRequestSchema, { ids: ["a", "b"] });
    const { keepers } = makeAnswer(method.batchGetKeepers, request) as internal.BatchGetKeepersResponse;
    expect(keepers.map(({ id }) => id)).toEqual(["a", "b"]);
    expect(new Set(keepers.flatMap(({ id, name, chiefId }) => [id, name, chiefId])).size).toBe(6);
  });

  test("has the single key of its request, and that alone", () => {
    const request = asked(internal.GetCrateRequestSchema, { code: "a" });
    const { crate } = makeAnswer(method.getCrate, request) as internal.GetCrateResponse;
    expect(crate?.code).toBe("a");
    expect(crate?.keeperId).not.toBe("a");
  });

  test("has as many items as the page that is asked for, and no other page", () => {
    const request = asked(internal.ListCratesRequestSchema, { pageSize: 7, pageToken: "a" });
    const { crates, nextPageToken } = makeAnswer(method.listCrates, request) as internal.ListCratesResponse;
    expect([crates.length, nextPageToken]).toEqual([7, ""]);
    expect(new Set(crates.map(({ serial }) => serial)).size).toBe(7);
  });

  test.each([0, 10_001, 2 ** 31 - 1])(
    "has the given number of items, if a page of %i is none",
    (pageSize) => {
      const request = asked(internal.ListCratesRequestSchema, { pageSize });
      expect(makeAnswer(method.listCrates, request)).toMatchObject({ crates: { length: 4 } });
    },
  );

  test("has something in every field, of every kind", () => {
    const request = asked(internal.ListCratesRequestSchema, {});
    const [crate] = (makeAnswer(method.listCrates, request) as internal.ListCratesResponse).crates;
    for (const field of internal.CrateSchema.fields) {
      const filled = reflect(internal.CrateSchema, crate).isSet(field);
      // Of a oneof, the first. What is empty in a struct and in any message is there all the same.
      expect(filled, field.name).toBe(field.oneof === undefined || field.oneof.fields[0] === field);
    }
    expect(crate?.hazards).toEqual([internal.Hazard.FLAMMABLE, internal.Hazard.FLAMMABLE]);
    expect(crate?.contents[0]?.contents[0]?.contents).toEqual([]);
  });

  test("can be of proto2 and of an edition", () => {
    const sheet = catalog.CatalogService.method.getSheet;
    const request = asked(catalog.GetSheetRequestSchema, { title: "a" });
    expect(makeAnswer(sheet, request)).toMatchObject({
      sheet: { title: "a", margin: { width: expect.any(Number) }, binding: catalog.Binding.SEWN },
    });
    for (const each of legacy.LedgerService.methods)
      expect(makeAnswer(each as never, reflect(each.input, create(each.input))).$typeName).toBe(
        each.output.typeName,
      );
  });
});

describe("a request that is made up", () => {
  const mint = createMint();

  test("is as large as the rules of validation let it be", () => {
    const request = makeRequest(
      rules.AssignDutiesRequestSchema,
      "full",
      mint,
      9,
    ) as rules.AssignDutiesRequest;
    expect(request).toMatchObject({ duties: { length: 500 }, posts: { length: 50 }, names: { length: 9 } });
    expect(Object.keys(request.watches)).toHaveLength(500);
  });

  test("has one item in each list, or nothing", () => {
    const desc = rules.AssignDutiesRequestSchema;
    expect(makeRequest(desc, "short", mint, 9)).toMatchObject({
      duties: { length: 1 },
      names: { length: 1 },
    });
    expect(makeRequest(desc, "bare", mint, 9)).toEqual(create(desc));
  });
});

describe("a value that is made up", () => {
  test("tells who made it, even as a part of another", () => {
    const mint = createMint<string>();
    const before = mint.value(ScalarType.STRING, "code");
    mint.madeBy("first");
    const [text, long] = [mint.value(ScalarType.STRING, "code"), mint.value(ScalarType.UINT64, "serial")];
    mint.madeBy("second");
    const bytes = mint.value(ScalarType.BYTES, "seal") as Uint8Array<ArrayBuffer>;
    const makersOf = (init: MessageInitShape<typeof internal.CrateSchema>) => [
      ...mint.makersOf(asked(internal.CrateSchema, init)),
    ];
    expect(makersOf({ code: `${before}`, quantity: 500 })).toEqual([]);
    expect(makersOf({ tags: { a: `crates/${text}/keeper` } })).toEqual(["first"]);
    expect(makersOf({ serial: long as bigint })).toEqual(["first"]);
    expect(makersOf({ contents: [{ seal: bytes }], code: `${text}` })).toEqual(["first", "second"]);
  });
});

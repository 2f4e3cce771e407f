import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { thrownBy } from "../../testing/call.ts";
import { internal, pub, pubLegacy } from "../../testing/protos.ts";
import { createPaging } from "./paging.ts";

const pageOf = createPaging(pub.ListCratesRequestSchema, { defaultSize: 50, maxSize: 500 });
const refusal = "page_token: is not a next_page_token of this listing with these filters";

type Listing = MessageInitShape<typeof pub.ListCratesRequestSchema>;
const request = (init: Listing = {}) => create(pub.ListCratesRequestSchema, init);
const tokenFor = (init: Listing, upstreamToken: string) => pageOf(request(init)).next(upstreamToken);

describe("page_size", () => {
  test.each([
    [0, 50],
    [1, 1],
    [500, 500],
    [501, 500],
    [2_147_483_647, 500],
  ])("%i asks the upstream for %i", (pageSize, asked) => {
    expect(pageOf(request({ pageSize })).pageSize).toBe(asked);
  });

  test("must not be negative", async () => {
    expect(await thrownBy(() => pageOf(request({ pageSize: -1 })))).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: "page_size: must not be negative, got -1",
    });
  });
});

describe("page_token", () => {
  test("an empty one is the first page, and the upstream's empty one is the last", () => {
    expect(pageOf(request()).pageToken).toBe("");
    expect(tokenFor({}, "")).toBe("");
  });

  test.each(["cursor-1", "äöü 漢字 🚀", "=+/&%", "x".repeat(5_000)])(
    "%.12s comes back as it was",
    (token) => {
      const pageToken = tokenFor({ aisle: "A" }, token);
      expect(pageToken).toMatch(/^[A-Za-z0-9_-]+$/);
      expect(pageOf(request({ aisle: "A", pageToken })).pageToken).toBe(token);
    },
  );

  test("does not depend on the size of the page, nor on the token that led there", () => {
    const second = tokenFor({ aisle: "A", pageSize: 5 }, "cursor-1");
    const third = pageOf(request({ aisle: "A", pageSize: 9, pageToken: second })).next("cursor-2");
    expect(pageOf(request({ aisle: "A", pageToken: third })).pageToken).toBe("cursor-2");
  });

  test("does not change the request", () => {
    const given = request({ pageSize: 5, aisle: "A" });
    pageOf(given);
    expect(given).toEqual(request({ pageSize: 5, aisle: "A" }));
  });

  test.each<[string, Listing]>([
    ["another filter", { aisle: "B" }],
    ["no filter", {}],
    ["a further filter", { aisle: "A", tags: { color: "red" } }],
  ])("is refused with %s", async (_, other) => {
    const pageToken = tokenFor({ aisle: "A" }, "cursor-1");
    const error = await thrownBy(() => pageOf(request({ ...other, pageToken })));
    expect(error).toBeInstanceOf(PublicError);
    expect(error).toMatchObject({ code: Code.InvalidArgument, rawMessage: refusal });
  });

  test("is refused by another method", async () => {
    const other = createPaging(internal.ListCratesRequestSchema, { defaultSize: 50, maxSize: 500 });
    const pageToken = tokenFor({}, "cursor-1");
    expect(
      await thrownBy(() => other(create(internal.ListCratesRequestSchema, { pageToken }))),
    ).toMatchObject({ code: Code.InvalidArgument, rawMessage: refusal });
  });

  const good = tokenFor({}, "cursor-1");
  test.each([
    ["words", "next please"],
    ["the upstream's own token", "cursor-1"],
    ["a checksum alone", good.slice(0, 11)],
    ["a token that was cut", good.slice(0, -1)],
    ["a token with more behind it", `${good}AA`],
    ["padding", `${good}=`],
    ["a space", `${good} `],
    ["another alphabet", `${good.slice(0, -1)}+`],
    ["a changed first letter", `${good.startsWith("A") ? "B" : "A"}${good.slice(1)}`],
    ["no base64 at all", "💥"],
    ["much of nothing", "A".repeat(100_000)],
  ])("refuses %s", async (_, pageToken) => {
    expect(await thrownBy(() => pageOf(request({ pageToken })))).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: refusal,
    });
  });

  test("fields that this version does not know do not matter", () => {
    const pageToken = tokenFor({ aisle: "A" }, "cursor-1");
    const newer = request({ aisle: "A", pageToken });
    newer.$unknown = [{ no: 99, wireType: 0, data: new Uint8Array([1]) }];
    expect(pageOf(newer).pageToken).toBe("cursor-1");
  });

  test("maps count the same in any order, as they have none", () => {
    const pageToken = tokenFor({ tags: { a: "1", b: "2" } }, "cursor-1");
    expect(pageOf(request({ tags: { b: "2", a: "1" }, pageToken })).pageToken).toBe("cursor-1");
  });
});

test("works for proto2, where a filter that is left out is no filter", async () => {
  const pageOfEntries = createPaging(pubLegacy.ListEntriesRequestSchema, { defaultSize: 50, maxSize: 500 });
  const unset = create(pubLegacy.ListEntriesRequestSchema);
  const pageToken = pageOfEntries(unset).next("cursor-1");
  // As it comes from the wire.
  const next = fromBinary(
    pubLegacy.ListEntriesRequestSchema,
    toBinary(pubLegacy.ListEntriesRequestSchema, create(pubLegacy.ListEntriesRequestSchema, { pageToken })),
  );
  expect(pageOfEntries(next)).toMatchObject({ pageSize: 20, pageToken: "cursor-1" });
  const filtered = create(pubLegacy.ListEntriesRequestSchema, { currency: "USD", pageToken });
  expect(await thrownBy(() => pageOfEntries(filtered))).toMatchObject({ rawMessage: refusal });
});

import { toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { type PartialResult, PartialResultSchema } from "../../gen/portico/api/v1/partial_result_pb.ts";
import { type Reason, reasons } from "../../reasons.ts";
import { countMissing, createPartialGroups } from "./groups.ts";
import { pathOf, type Step } from "./path.ts";

const dead = new PublicError("SERVICE_UNAVAILABLE");

test("without anything missing there is no result", () => {
  expect(createPartialGroups().result()).toBeUndefined();
});

test("says why a field is missing, and when to call again", () => {
  const groups = createPartialGroups();
  const busy = new PublicError("SERVICE_BUSY", undefined, { retryAfterMs: 1_500 });
  groups.add(path("crate", "keeper_name"), busy);
  groups.add(path("crate", "label"), new PublicError("NOT_FOUND"));
  expect(groups.result()?.missing).toMatchObject([
    {
      path: "crate.keeper_name",
      count: 1,
      code: "resource_exhausted",
      reason: "SERVICE_BUSY",
      message: reasons.SERVICE_BUSY.message,
      retryable: true,
      retryDelay: { seconds: 1n, nanos: 500_000_000 },
    },
    { path: "crate.label", code: "not_found", reason: "NOT_FOUND", retryable: false },
  ]);
});

describe("one entry", () => {
  test("tells of one field in many messages", () => {
    const groups = createPartialGroups();
    for (const index of [0, 1, 2, 5, 7, 8, 9]) groups.add(path("crates", index, "keeper_name"), dead);
    expect(told(groups.result())).toEqual(["7 crates[0-2,5,7-9].keeper_name SERVICE_UNAVAILABLE"]);
  });

  test("tells of one reason and one list", () => {
    const groups = createPartialGroups();
    groups.add(path("crates", 0, "keeper_name"), dead);
    groups.add(path("crates", 1, "keeper_name"), new PublicError("NOT_FOUND"));
    groups.add(path("crates", 2, "keeper_name"), dead);
    groups.add(path("crates", 2, "contents", 0, "keeper_name"), dead);
    groups.add(path("crates", 2, "contents", 1, "keeper_name"), dead);
    expect(told(groups.result())).toEqual([
      "2 crates[0,2].keeper_name SERVICE_UNAVAILABLE",
      "1 crates[1].keeper_name NOT_FOUND",
      "2 crates[2].contents[0-1].keeper_name SERVICE_UNAVAILABLE",
    ]);
  });

  test("has words that are true of all of it, and the longest delay", () => {
    const groups = createPartialGroups();
    const after = (retryAfterMs: number) =>
      new PublicError("SERVICE_BUSY", "Scanner busy.", { retryAfterMs });
    groups.add(path("crates", 0, "scans"), after(3_000));
    groups.add(path("crates", 1, "scans"), after(1_000));
    const [same] = groups.result()?.missing ?? [];
    expect(same?.message).toBe("Scanner busy.");
    expect(same?.retryDelay && durationMs(same.retryDelay)).toBe(3_000);
    groups.add(path("crates", 2, "scans"), new PublicError("SERVICE_BUSY", "Printer busy."));
    expect(groups.result()?.missing[0]?.message).toBe(reasons.SERVICE_BUSY.message);
  });
});

describe("what has no room", () => {
  test("is told without indices, with the true count", () => {
    const groups = createPartialGroups();
    for (let index = 0; index < 10_000; index += 2) groups.add(path("crates", index, "keeper_name"), dead);
    groups.add(path("next", "label"), dead);
    expect(told(groups.result())).toEqual([
      "5000 crates[*].keeper_name SERVICE_UNAVAILABLE",
      "1 next.label SERVICE_UNAVAILABLE",
    ]);
  });

  test("keeps the list that it is all in", () => {
    const groups = createPartialGroups();
    for (let index = 0; index < 10_000; index += 2)
      groups.add(path("crates", 3, "contents", index, "note"), dead);
    expect(told(groups.result())).toEqual(["5000 crates[3].contents[*].note SERVICE_UNAVAILABLE"]);
  });

  test("is one entry, if it stands in many lists", () => {
    const groups = createPartialGroups();
    for (let index = 0; index < 10_000; index++) {
      groups.add(path("crates", index, "contents", 0, "note"), dead);
      groups.add(path("crates", index, "contents", 1, "note"), dead);
    }
    expect(told(groups.result())).toEqual(["20000 crates[*].contents[*].note SERVICE_UNAVAILABLE"]);
  });

  test("leaves the detail to what has room", () => {
    const groups = createPartialGroups();
    for (let index = 0; index < 5_000; index++) {
      groups.add(path("crates", index, "note"), dead);
      if (index % 2 === 0) groups.add(path("crates", index, "label"), dead);
    }
    expect(told(groups.result())).toEqual([
      "5000 crates[0-4999].note SERVICE_UNAVAILABLE",
      "2500 crates[*].label SERVICE_UNAVAILABLE",
    ]);
  });

  test("is told without fields in the end, and later ones count on", () => {
    const groups = createPartialGroups();
    for (let index = 0; index < 1_000; index++) groups.add(path(`field_${index}`), dead);
    groups.add(path("crates", 0, "note"), new PublicError("NOT_FOUND"));
    const lines = told(groups.result());
    expect(lines).toContain("1 crates[0].note NOT_FOUND");
    expect(lines).toContain("1000 * SERVICE_UNAVAILABLE");
    expect(lines).toHaveLength(2);
  });

  test("fits, whatever a key or a name is like", () => {
    const groups = createPartialGroups();
    const long = "x".repeat(1_000_000);
    groups.add(path("slots", { text: JSON.stringify(long) }, "guard"), dead);
    groups.add(path("halls", { text: JSON.stringify(long) }, "slots", 1, "guard"), dead);
    groups.add(
      path(...Array.from({ length: 99 }, (_, index) => `a_name_of_a_field_that_is_far_too_long_${index}`)),
      dead,
    );
    expect(told(groups.result())).toEqual(["3 * SERVICE_UNAVAILABLE"]);
    groups.add(path("crates", 0, "note"), dead);
    expect(told(groups.result())).toEqual(["4 * SERVICE_UNAVAILABLE"]);
  });

  test("fits, even if every reason has occurred in every field", () => {
    const groups = createPartialGroups();
    const words = "w".repeat(1_024);
    for (let index = 0; index < 100; index++) {
      for (const reason of Object.keys(reasons) as Reason[]) {
        const options = { retryAfterMs: 3_599_999 };
        groups.add(path("crates", 2 * index, `field_${index}`), new PublicError(reason, words, options));
      }
    }
    const result = groups.result();
    expect(result && toBinary(PartialResultSchema, result).byteLength).toBeLessThanOrEqual(4_096);
    expect(result && countMissing(result)).toBe(100 * Object.keys(reasons).length);
  });
});

function path(...parts: readonly (string | number | { text: string })[]) {
  return pathOf(
    parts.map((part): Step => {
      if (typeof part === "string") return { kind: "field", name: part };
      return typeof part === "number" ? { kind: "item", index: part } : { kind: "key", text: part.text };
    }),
  );
}

/** One line for each entry; fails if the message is longer than a header can be. */
function told(result: PartialResult | undefined): string[] {
  if (result === undefined) return [];
  expect(toBinary(PartialResultSchema, result).byteLength).toBeLessThanOrEqual(4_096);
  return result.missing.map(({ path, count, reason }) => `${count} ${path} ${reason}`);
}

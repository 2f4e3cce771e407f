import { describe, expect, it } from "vitest";
import { createDraw } from "./draw.ts";
import { createGroups } from "./groups.ts";
import { mergeDown, mergeUp } from "./merge.ts";

const owner = createDraw(7, "test.owner");
const ownerAt = (index: number) => Math.floor(owner(index) * 20);

describe("createGroups", () => {
  const groups = createGroups(500, 20, ownerAt);

  it("puts every row into its group, rising", () => {
    for (let group = 0; group < 20; group++) {
      const expected = Array.from({ length: 500 }, (_, row) => row).filter((row) => ownerAt(row) === group);
      expect([...groups(group)]).toEqual(expected);
    }
  });

  it("has no rows for a group that is not there", () => {
    expect([...groups(20)]).toEqual([]);
    expect([...createGroups(0, 1, () => 0)(0)]).toEqual([]);
  });

  it("does no work before the first question", () => {
    let asked = 0;
    const lazy = createGroups(10, 1, () => {
      asked++;
      return 0;
    });
    expect(asked).toBe(0);
    lazy(0);
    lazy(0);
    expect(asked).toBe(20);
  });
});

describe("merging rising lists", () => {
  const groups = createGroups(500, 20, ownerAt);
  const lists = [...Array.from({ length: 13 }, (_, group) => groups(group)), []];
  const sorted = lists.flatMap((list) => [...list]).sort((a, b) => a - b);

  it.each([0, 1, 250, 499, 500, 9_999])("goes up from %i as a sort would", (start) => {
    expect([...mergeUp(lists, start)]).toEqual(sorted.filter((row) => row >= start));
  });

  it.each([0, 1, 250, 499, 500, 9_999])("goes down below %i as a sort would", (bound) => {
    expect([...mergeDown(lists, bound)]).toEqual(sorted.filter((row) => row < bound).reverse());
  });

  it("takes from the lists only what is asked for", () => {
    const [first] = mergeDown([{ length: 1e9, 999999998: 5, 999999999: 6 }], 7);
    expect(first).toBe(6);
  });
});

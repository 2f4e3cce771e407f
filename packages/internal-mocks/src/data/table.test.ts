import { describe, expect, it } from "vitest";
import { createTable } from "./table.ts";

const makeTable = () => createTable({ prefix: "row", seeded: 3, row: (index, id) => ({ index, id }) });

describe("createTable", () => {
  it("finds rows by index and by id", () => {
    const table = makeTable();
    expect(table.at(2)).toEqual({ index: 2, id: "row-3" });
    expect(table.find("row-3")).toBe(table.at(2));
  });

  it.each(["row-0", "row-4", "row-01", "row--1", "row-1e0", "row-", "row", "", "user-1", "row-9999999999"])(
    "finds nothing for %o",
    (id) => expect(makeTable().find(id)).toBeUndefined(),
  );

  it("adds rows with the next number", () => {
    const table = makeTable();
    expect(table.add((index, id) => ({ index, id }))).toEqual({ index: 3, id: "row-4" });
    expect(table.size()).toBe(4);
    expect(table.find("row-4")).toEqual({ index: 3, id: "row-4" });
  });

  it("finds several, each once, without those that do not exist", () => {
    expect(
      makeTable()
        .findAll(["row-2", "row-9", "row-1", "row-2"])
        .map((row) => row.id),
    ).toEqual(["row-2", "row-1"]);
  });

  it.each([-1, 3, 0.5, Number.NaN])("throws for index %o", (index) => {
    expect(() => makeTable().at(index)).toThrow(RangeError);
  });
});

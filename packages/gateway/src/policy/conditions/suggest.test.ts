import { expect, test } from "vitest";
import { suggest } from "./suggest.ts";

const names = ["user_id", "status", "page_token"];

test.each([
  ["user_idd", "; did you mean user_id?"],
  ["userId", "; did you mean user_id?"],
  ["USER_ID", "; did you mean user_id?"],
  ["stats", "; did you mean status?"],
  ["token", ""],
  ["x", ""],
  ["", ""],
])("for %j suggests %j", (name, expected) => {
  expect(suggest(name, names)).toBe(expected);
});

test("suggests nothing where there is nothing", () => {
  expect(suggest("a", [])).toBe("");
});

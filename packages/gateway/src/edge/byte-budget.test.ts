import { expect, test } from "vitest";
import { budgetProblems } from "./byte-budget.ts";

test("a method that takes more than one caller may have at a time is named before the start", () => {
  const methods = [
    { name: "acme.v1.Uploads/Put", maxRequestBytes: 3_000_000 },
    { name: "acme.v1.Uploads/Get", maxRequestBytes: undefined },
    { name: "acme.v1.Uploads/Patch", maxRequestBytes: 1_000_000 },
  ];
  expect(budgetProblems(methods, 2_000_000)).toEqual([
    "acme.v1.Uploads/Put: max_request_bytes is 3000000, more than half of MAX_IN_FLIGHT_BYTES, 2000000: lower the one or raise the other",
  ]);
});

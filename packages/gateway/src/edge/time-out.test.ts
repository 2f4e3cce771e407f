import { expect, test } from "vitest";
import { capTimeOut } from "./time-out.ts";

test.each([
  ["grpc-timeout", "99999999H", "86400S"],
  ["grpc-timeout", "99999999M", "86400S"],
  ["grpc-timeout", "86401S", "86400S"],
  ["grpc-timeout", "86400S", "86400S"],
  ["grpc-timeout", "99999999m", "86400S"],
  ["grpc-timeout", "86400000m", "86400000m"],
  ["grpc-timeout", "99999999u", "99999999u"],
  ["grpc-timeout", "99999999n", "99999999n"],
  ["grpc-timeout", "999999999H", "999999999H"],
  ["grpc-timeout", "-1S", "-1S"],
  ["connect-timeout-ms", "9999999999", "86400000"],
  ["connect-timeout-ms", "86400000", "86400000"],
  ["connect-timeout-ms", "99999999999", "99999999999"],
  ["connect-timeout-ms", "soon", "soon"],
])("%s %s becomes %s", (name, given, wanted) => {
  const header = new Headers({ [name]: given });
  capTimeOut(header);
  expect([...header]).toEqual([[name, wanted]]);
});

test("without a time-out there is none", () => {
  const header = new Headers();
  capTimeOut(header);
  expect([...header]).toEqual([]);
});

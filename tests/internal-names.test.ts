import { describe, expect, test } from "vitest";
import { internalFields, internalTypes, namesIn } from "./internal-names.ts";

describe("the search for internal names", () => {
  test.each([
    ['{"id":"1","phone":"2"}', ["phone"]],
    ['{"message":"phone: is required"}', ["phone"]],
    ["the phone is busy", []],
    ["no password_hash for this user", ["password_hash"]],
    ['{"password_hashes":[]}', []],
    ["\0\x0dUSER_CLOSED\0", ["USER_CLOSED"]],
  ])("finds in %j %j", (text, found) => {
    expect(namesIn(text, ["phone", "password_hash", "USER_CLOSED"])).toEqual(found);
  });

  test("is for what no public proto has", () => {
    for (const name of ["id", "email", "user_id", "userId", "ORDER_STATUS_PAID"])
      expect(internalFields).not.toContain(name);
    for (const name of ["User", "OrderStatus", "OrdersService", "CreateUser"])
      expect(internalTypes).not.toContain(name);
  });
});

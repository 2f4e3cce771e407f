import { create, type DescMessage } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { catalog, internal, legacy, pub, vault } from "../../testing/protos.ts";
import { blankOf } from "./blank.ts";

describe.each<[string, DescMessage]>([
  ["proto3, with lists, maps and oneofs", internal.CrateSchema],
  ["proto3, plain", pub.SlotSchema],
  ["proto2, with defaults", legacy.EntrySchema],
  ["an edition, with a default", catalog.SheetSchema],
  ["a message without fields", vault.VaultService.method.getVault.input],
])("%s", (_, desc) => {
  test("is as the library creates it", () => {
    const blank = blankOf(desc)();
    expect(blank).toStrictEqual(create(desc));
    expect(Object.keys(blank)).toEqual(Object.keys(create(desc)));
  });

  test("shares nothing with the next", () => {
    const make = blankOf(desc);
    const [one, other] = [make(), make()] as unknown as Record<string, unknown>[];
    // Empty bytes are shared by the library itself.
    for (const [name, value] of Object.entries(one ?? {}))
      if (typeof value === "object" && !(value instanceof Uint8Array)) expect(value).not.toBe(other?.[name]);
    expect(one).not.toBe(other);
  });
});

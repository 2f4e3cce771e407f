import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { InventoryService } from "./gen/smpl/inventory/v1/inventory_service_pb.ts";
import { createMocks } from "./mocks.ts";

const connect = (items = 300) =>
  createClient(InventoryService, createMocks({ items, users: 50 }).inventory.transport);

describe("ListItems", () => {
  it("gives 100 by default, and all in the end", async () => {
    const client = connect();
    const first = await client.listItems({});
    const second = await client.listItems({ pageToken: first.nextPageToken, pageSize: 199 });
    const third = await client.listItems({ pageToken: second.nextPageToken });
    const ids = [...first.items, ...second.items, ...third.items].map((item) => item.id);
    expect(ids).toEqual(Array.from({ length: 300 }, (_, index) => `item-${index + 1}`));
    expect([first.items.length, third.items.length, third.nextPageToken]).toEqual([100, 1, ""]);
  });

  it("gives only the items of the owners, on any number of pages", async () => {
    const client = connect();
    const { items: all } = await client.listItems({ pageSize: 300 });
    const ownerIds = ["user-7", "user-3", "user-999", "user-3", "order-1"];
    const found: string[] = [];
    let pageToken = "";
    do {
      const page = await client.listItems({ ownerIds, pageSize: 2, pageToken });
      found.push(...page.items.map((item) => item.id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(found.length).toBeGreaterThan(2);
    expect(found).toEqual(all.filter((item) => ownerIds.includes(item.ownerId)).map((item) => item.id));
  });

  it("gives 10,000 to who asks for more", async () => {
    expect((await connect(10_500).listItems({ pageSize: 10_400 })).items).toHaveLength(10_000);
  });

  it.each([
    ["a negative size", { pageSize: -1 }],
    ["a bad token", { pageToken: "x" }],
    ["more than 1,000 owners", { ownerIds: Array.from({ length: 1_001 }, () => "user-1") }],
  ])("answers INVALID_ARGUMENT for %s", async (_, request) => {
    await expect(connect().listItems(request)).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

describe("BatchGetItems", () => {
  it("finds those that exist, each once", async () => {
    const { items } = await connect().batchGetItems({ ids: ["item-9", "item-301", "item-1", "item-9"] });
    expect(items.map((item) => item.id).sort()).toEqual(["item-1", "item-9"]);
  });

  it("answers INVALID_ARGUMENT for more than 1,000 ids", async () => {
    const ids = Array.from({ length: 1_001 }, () => "item-1");
    await expect(connect().batchGetItems({ ids })).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

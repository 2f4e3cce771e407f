import { create } from "@bufbuild/protobuf";
import { type Item, ItemSchema } from "../gen/smpl/inventory/v1/inventory_service_pb.ts";
import { products } from "./catalogue.ts";
import { createDraw, pick } from "./draw.ts";
import { createGroups } from "./groups.ts";
import { countUp, mergeUp } from "./merge.ts";
import { createTable, idAt, indexOfId, type Table } from "./table.ts";

/** All items, by number. */
export interface Items extends Table<Item> {
  /** The indices of the items of these owners (of all if there are none), rising from `start`. */
  indices(ownerIds: readonly string[], start: number): Iterable<number>;
}

/**
 * Makes the items of a seed. They belong to the seeded users: the first ones to the first users in turn, so that a
 * first look at those shows some, and all others to anybody by chance, to some many and to some none.
 */
export function createItems(seed: number, count: number, users: number): Items {
  const ownerAt = createOwners(seed, users);
  const byOwner = createGroups(count, Math.max(users, 1), ownerAt);
  const table = createTable({ prefix: "item", seeded: count, row: createItemRow(seed, ownerAt) });
  return {
    ...table,
    indices(ownerIds, start) {
      if (ownerIds.length === 0) return countUp(start, count);
      const owners = new Set(
        ownerIds.map((id) => indexOfId("user", id)).filter((index) => index !== undefined),
      );
      return mergeUp([...owners].map(byOwner), start);
    },
  };
}

function createOwners(seed: number, users: number): (index: number) => number {
  const owner = createDraw(seed, "items.owner");
  const inTurn = Math.min(10, users);
  return (index) => (index < inTurn * 3 ? index % inTurn : Math.floor(owner(index) * users));
}

function createItemRow(
  seed: number,
  ownerAt: (index: number) => number,
): (index: number, id: string) => Item {
  const product = createDraw(seed, "items.product");
  const quantity = createDraw(seed, "items.quantity");
  const place = createDraw(seed, "items.place");
  return (index, id) => {
    const { sku, name } = pick(products, product(index));
    return create(ItemSchema, {
      id,
      ownerId: idAt("user", ownerAt(index)),
      sku,
      name,
      quantity: BigInt(Math.floor(quantity(index) * 500)),
      warehouseLocation: `HALL-${pick(halls, place(index))}-${1 + Math.floor(place(index, 1) * 60)}`,
      supplierReference: `SUPPLIER-${1_000 + Math.floor(place(index, 2) * 9_000)}`,
    });
  };
}

const halls = ["A", "B", "C", "D"] as const;

import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { Items } from "./data/items.ts";
import type { InventoryService } from "./gen/smpl/inventory/v1/inventory_service_pb.ts";
import { readPage, takePage } from "./paging.ts";

/** The inventory service over its data. */
export function inventoryImpl(items: Items): ServiceImpl<typeof InventoryService> {
  return {
    listItems(request) {
      checkCount("owner_ids", request.ownerIds);
      const { size, last = -1 } = readPage(request, { kind: "items", most: 10_000 }, items.size());
      const { indices, nextPageToken } = takePage(items.indices(request.ownerIds, last + 1), "items", size);
      return { items: indices.map(items.at), nextPageToken };
    },

    batchGetItems({ ids }) {
      checkCount("ids", ids);
      return { items: items.findAll(ids) };
    },
  };
}

function checkCount(field: string, ids: readonly string[]): void {
  if (ids.length > 1_000) {
    throw new ConnectError(`${field} must be 1,000 at the most, got ${ids.length}`, Code.InvalidArgument);
  }
}

import { InventoryService } from "../gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { service } from "../index.ts";
import { listOwners } from "./requests.ts";
import { users } from "./upstreams.ts";
import { userItemsView } from "./views.ts";

export const inventoryService = service(InventoryService, {
  async listItemsGroupedByUsers(request, call) {
    const page = listOwners(request);
    const { users: owners, nextPageToken } = await users.listUsers(page.request, call);
    return { users: await userItemsView.all(owners, call), nextPageToken: page.next(nextPageToken) };
  },
});

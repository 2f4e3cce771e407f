import {
  InventoryService,
  ListItemsGroupedByUsersRequestSchema,
} from "../gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { paging, service } from "../index.ts";
import { users } from "./upstreams.ts";
import { userItemsView } from "./views.ts";

const pageOf = paging(ListItemsGroupedByUsersRequestSchema, { defaultSize: 50, maxSize: 500 });

export const inventoryService = service(InventoryService, {
  async listItemsGroupedByUsers(request, call) {
    const { pageSize, pageToken, next } = pageOf(request);
    const page = await users.listUsers({ pageSize, pageToken }, call);
    return { users: await userItemsView.all(page.users, call), nextPageToken: next(page.nextPageToken) };
  },
});

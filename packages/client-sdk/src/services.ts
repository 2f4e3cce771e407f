import { InventoryService } from "./gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "./gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "./gen/smpl/api/users/v1/api_users_service_pb.ts";

/**
 * The members of a client, and the services that they call. This is all that hand-written code knows about the
 * API: a new rpc needs nothing here.
 */
export const services = {
  users: UsersService,
  orders: OrdersService,
  inventory: InventoryService,
} as const;

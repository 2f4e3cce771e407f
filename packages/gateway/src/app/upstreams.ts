import { InventoryService } from "../gen/smpl/inventory/v1/inventory_service_pb.ts";
import { OrdersService } from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { UsersService } from "../gen/smpl/users/v1/users_service_pb.ts";
import { upstream } from "../index.ts";

// The internal services. Where each is comes from UPSTREAM_USERS, UPSTREAM_ORDERS and UPSTREAM_INVENTORY.

const options = { timeoutMs: 2_000, identity: ["kind", "issuer", "subject", "roles"] } as const;

export const users = upstream("users", UsersService, options);
export const orders = upstream("orders", OrdersService, options);
export const inventory = upstream("inventory", InventoryService, options);

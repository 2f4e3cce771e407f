import { inventoryService } from "./inventory.ts";
import { ordersService } from "./orders.ts";
import * as internal from "./upstreams.ts";
import { usersService } from "./users.ts";

// This API: the public services, and the internal ones that they are made from.

export const services = [usersService, ordersService, inventoryService];
export const upstreams = Object.values(internal);

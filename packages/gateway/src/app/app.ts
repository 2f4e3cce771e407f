import { inventoryService } from "./inventory.ts";
import * as ways from "./loaders.ts";
import { ordersService } from "./orders.ts";
import * as maps from "./requests.ts";
import * as internal from "./upstreams.ts";
import { usersService } from "./users.ts";
import * as made from "./views.ts";

// This API: the public services, the internal ones that they are made from, and how.

export const services = [usersService, ordersService, inventoryService];
export const upstreams = Object.values(internal);
export const views = Object.values(made);
export const loaders = Object.values(ways);
export const requests = Object.values(maps);

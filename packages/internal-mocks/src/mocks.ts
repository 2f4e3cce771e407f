import { createItems } from "./data/items.ts";
import { createOrders } from "./data/orders.ts";
import { createUsers } from "./data/users.ts";
import { InventoryService } from "./gen/smpl/inventory/v1/inventory_service_pb.ts";
import { OrdersService } from "./gen/smpl/orders/v1/orders_service_pb.ts";
import { UsersService } from "./gen/smpl/users/v1/users_service_pb.ts";
import { inventoryImpl } from "./inventory.ts";
import { type MockOptions, readOptions } from "./options.ts";
import { ordersImpl } from "./orders.ts";
import { createMockService, type MockService } from "./service.ts";
import { usersImpl } from "./users.ts";

/** The three internal services in memory. */
export interface Mocks {
  users: MockService<typeof UsersService>;
  orders: MockService<typeof OrdersService>;
  inventory: MockService<typeof InventoryService>;
}

/**
 * Makes the internal services in memory, for unit tests. Two calls with the same options give the same data and
 * share nothing. Throws a RangeError for an option out of its range.
 *
 * @example
 * const mocks = createMocks({ users: 10 });
 * const client = createClient(UsersService, mocks.users.transport);
 * const { user } = await client.getUser({ id: "user-1" });
 */
export function createMocks(options: MockOptions = {}): Mocks {
  const { users, orders, items, seed, recordedCalls } = readOptions(options);
  const ordersData = createOrders(seed, orders, users);
  return {
    users: createMockService(UsersService, usersImpl(createUsers(seed, users)), recordedCalls),
    orders: createMockService(OrdersService, ordersImpl(ordersData, seed), recordedCalls),
    inventory: createMockService(
      InventoryService,
      inventoryImpl(createItems(seed, items, users)),
      recordedCalls,
    ),
  };
}

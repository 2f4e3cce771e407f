import * as pubInventory from "../gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import * as pubOrders from "../gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import * as pubUsers from "../gen/smpl/api/users/v1/api_users_service_pb.ts";
import * as orders from "../gen/smpl/orders/v1/orders_service_pb.ts";
import * as users from "../gen/smpl/users/v1/users_service_pb.ts";
import { enumByName, mapPagedRequest, mapped, mapRequest, nested } from "../index.ts";

// How internal requests are made from public ones. Fields of the same name and type are copied by themselves.

const page = { defaultSize: 50, maxSize: 500 };

export const createUser = mapRequest(pubUsers.CreateUserRequestSchema, users.CreateUserRequestSchema, {});

export const getUser = mapRequest(pubUsers.GetUserRequestSchema, users.GetUserRequestSchema, {});

export const listUsers = mapPagedRequest(
  pubUsers.ListUsersRequestSchema,
  users.ListUsersRequestSchema,
  {},
  page,
);

export const listOwners = mapPagedRequest(
  pubInventory.ListItemsGroupedByUsersRequestSchema,
  users.ListUsersRequestSchema,
  {},
  page,
);

const internalStatus = enumByName(pubOrders.OrderStatusSchema, orders.OrderStatusSchema, {
  onUnknown: "fail",
});

export const listOrders = mapPagedRequest(
  pubOrders.ListOrdersWithUserRequestSchema,
  orders.ListOrdersRequestSchema,
  { status: mapped(internalStatus, "status") },
  page,
);

export const getOrder = mapRequest(pubOrders.GetOrderWithUserRequestSchema, orders.GetOrderRequestSchema, {});

const money = mapRequest(pubOrders.MoneySchema, orders.MoneySchema, {});

const lineItem = mapRequest(pubOrders.LineItemSchema, orders.LineItemSchema, {
  unitPrice: nested(money, "unitPrice"),
});

export const createOrder = mapRequest(pubOrders.CreateOrderRequestSchema, orders.CreateOrderRequestSchema, {
  lineItems: nested(lineItem, "lineItems"),
});

export const watchOrders = mapRequest(
  pubOrders.WatchOrdersWithUserRequestSchema,
  orders.WatchOrdersRequestSchema,
  {},
);

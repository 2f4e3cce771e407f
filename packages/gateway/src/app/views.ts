import * as pubInventory from "../gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import * as pubOrders from "../gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import * as pubUsers from "../gen/smpl/api/users/v1/api_users_service_pb.ts";
import * as inventory from "../gen/smpl/inventory/v1/inventory_service_pb.ts";
import * as orders from "../gen/smpl/orders/v1/orders_service_pb.ts";
import * as users from "../gen/smpl/users/v1/users_service_pb.ts";
import { enumByName, nested, related, view } from "../index.ts";
import { itemsByOwner, usersById } from "./loaders.ts";

// How public messages are made from internal ones. Fields of the same name and type are copied by themselves.

export const userView = view(users.UserSchema, pubUsers.UserSchema, {});

const moneyView = view(orders.MoneySchema, pubOrders.MoneySchema, {});

const lineItemView = view(orders.LineItemSchema, pubOrders.LineItemSchema, {
  unitPrice: nested(moneyView, (line) => line.unitPrice),
});

const publicStatus = enumByName(orders.OrderStatusSchema, pubOrders.OrderStatusSchema, {
  onUnknown: "default",
});

export const orderView = view(orders.OrderSchema, pubOrders.OrderSchema, {
  userEmail: related(
    usersById,
    (order) => order.userId,
    (user) => user.email,
    { onMissing: "empty" },
  ),
  total: nested(moneyView, (order) => order.total),
  lineItems: nested(lineItemView, (order) => order.lineItems),
  status: (order) => publicStatus(order.status),
});

const itemView = view(inventory.ItemSchema, pubInventory.ItemSchema, {});

export const userItemsView = view(users.UserSchema, pubInventory.UserItemsSchema, {
  user: nested(userView, (user) => user),
  items: related(itemsByOwner, (user) => user.id, itemView, { onMissing: "empty" }),
});

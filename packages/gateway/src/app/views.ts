import * as pubInventory from "../gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import * as pubOrders from "../gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import * as pubUsers from "../gen/smpl/api/users/v1/api_users_service_pb.ts";
import * as inventory from "../gen/smpl/inventory/v1/inventory_service_pb.ts";
import * as orders from "../gen/smpl/orders/v1/orders_service_pb.ts";
import * as users from "../gen/smpl/users/v1/users_service_pb.ts";
import { enumByName, itself, mapped, nested, related, view } from "../index.ts";
import { itemsByOwner, usersById } from "./loaders.ts";

// How public messages are made from internal ones. Fields of the same name and type are copied by themselves.

export const userView = view(users.UserSchema, pubUsers.UserSchema, {});

const moneyView = view(orders.MoneySchema, pubOrders.MoneySchema, {});

const lineItemView = view(orders.LineItemSchema, pubOrders.LineItemSchema, {
  unitPrice: nested(moneyView, "unitPrice"),
});

const publicStatus = enumByName(orders.OrderStatusSchema, pubOrders.OrderStatusSchema, {
  onUnknown: "default",
});

export const orderView = view(orders.OrderSchema, pubOrders.OrderSchema, {
  userEmail: related(usersById, "userId", "email", { onMissing: "empty", onError: "partial" }),
  total: nested(moneyView, "total"),
  lineItems: nested(lineItemView, "lineItems"),
  status: mapped(publicStatus, "status"),
});

const itemView = view(inventory.ItemSchema, pubInventory.ItemSchema, {});

export const userItemsView = view(users.UserSchema, pubInventory.UserItemsSchema, {
  user: itself(userView),
  items: related(itemsByOwner, "id", itemView, { onMissing: "empty" }),
});

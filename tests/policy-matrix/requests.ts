import { randomUUID } from "node:crypto";
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";

type Request = MessageInitShape<DescMessage>;

/** Requests that a method answers, made for a caller. A method that is not here is sent an empty request. */
export interface Requests {
  /** One that is valid, and meets the conditions for whoever may call at all. */
  readonly met: (subject: string) => Request;
  /** One that is valid, and does not meet them for those of whom the matrix says "if". */
  readonly unmet?: (subject: string) => Request;
  /** For each guarded field, one like `met` that sets it. */
  readonly setting?: Readonly<Record<string, (subject: string) => Request>>;
}

/** By the name of the method. */
export const requestsOf: Readonly<Record<string, Requests>> = {
  "smpl.api.users.v1.UsersService/CreateUser": {
    met: () => ({ email: `${randomUUID()}@example.com`, displayName: "New" }),
  },
  "smpl.api.users.v1.UsersService/GetUser": { met: () => ({ id: "user-1" }) },
  "smpl.api.users.v1.UsersService/ListUsers": { met: () => ({ pageSize: 2 }) },
  "smpl.api.orders.v1.OrdersService/ListOrdersWithUser": { met: () => ({ pageSize: 2 }) },
  "smpl.api.orders.v1.OrdersService/GetOrderWithUser": { met: () => ({ id: "order-1" }) },
  "smpl.api.orders.v1.OrdersService/CreateOrder": {
    met: (subject) => ({ userId: subject, lineItems: [line] }),
    unmet: () => ({ userId: "user-100", lineItems: [line] }),
    setting: {
      "smpl.api.orders.v1.LineItem.unit_price": (subject) => ({
        userId: subject,
        lineItems: [line, { ...line, unitPrice: { currencyCode: "USD", units: 1n } }],
      }),
    },
  },
  "smpl.api.orders.v1.OrdersService/WatchOrdersWithUser": { met: () => ({ backlog: 2 }) },
  "smpl.api.inventory.v1.InventoryService/ListItemsGroupedByUsers": { met: () => ({ pageSize: 2 }) },
};

const line = { product: "USB hub", quantity: 1 };

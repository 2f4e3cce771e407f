import { type CreateOrderRequest, OrdersService } from "../gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import type { Order, WatchOrdersRequest } from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { type Call, invalid, present, reword, service } from "../index.ts";
import { usersById } from "./loaders.ts";
import { createOrder, getOrder, listOrders, watchOrders } from "./requests.ts";
import { orders } from "./upstreams.ts";
import { orderView } from "./views.ts";

export const ordersService = service(OrdersService, {
  async listOrdersWithUser(request, call) {
    const page = listOrders(request);
    const { orders: list, nextPageToken } = await orders.listOrders(page.request, call);
    return { orders: await orderView.all(list, call), nextPageToken: page.next(nextPageToken) };
  },

  async getOrderWithUser(request, call) {
    const { order } = await reword(orders.getOrder(getOrder(request), call), {
      NOT_FOUND: { field: "id", description: "there is no order with this id" },
    });
    return answer(order, call);
  },

  async createOrder(request, call) {
    checkCurrency(request);
    const [user] = await usersById.loadAll([request.userId], call);
    if (user === undefined) throw invalid({ field: "user_id", description: "there is no user with this id" });
    const { order } = await orders.createOrder(createOrder(request), call);
    return answer(order, call);
  },

  async *watchOrdersWithUser(request, call) {
    for await (const order of orderView.each(newOrders(watchOrders(request), call), call)) yield { order };
  },
});

async function answer(order: Order | undefined, call: Call) {
  return { order: await orderView.one(present(order, "order"), call) };
}

async function* newOrders(request: WatchOrdersRequest, call: Call): AsyncIterable<Order> {
  for await (const { order } of orders.watchOrders(request, call)) yield present(order, "order");
}

/** Rules of validation see one line at a time. */
function checkCurrency({ lineItems }: CreateOrderRequest): void {
  const currencies = new Set(lineItems.flatMap(({ unitPrice }) => unitPrice?.currencyCode ?? []));
  if (currencies.size > 1)
    throw invalid({
      field: "line_items",
      description: `all prices must be in one currency, got ${[...currencies].join(", ")}`,
    });
}

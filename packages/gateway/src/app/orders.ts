import {
  type CreateOrderRequest,
  ListOrdersWithUserRequestSchema,
  OrdersService,
  OrderStatusSchema as PublicOrderStatusSchema,
} from "../gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { type Order, OrderStatusSchema } from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { type Call, enumByName, invalid, paging, present, reword, service } from "../index.ts";
import { usersById } from "./loaders.ts";
import { orders } from "./upstreams.ts";
import { orderView } from "./views.ts";

const pageOf = paging(ListOrdersWithUserRequestSchema, { defaultSize: 50, maxSize: 500 });
const internalStatus = enumByName(PublicOrderStatusSchema, OrderStatusSchema, {
  onUnknown: "fail",
  field: "status",
});

export const ordersService = service(OrdersService, {
  async listOrdersWithUser(request, call) {
    const { userIds, createdFrom, createdBefore } = request;
    const { pageSize, pageToken, next } = pageOf(request);
    const status = internalStatus(request.status);
    const filter = {
      userIds,
      status,
      ...(createdFrom && { createdFrom }),
      ...(createdBefore && { createdBefore }),
    };
    const page = await orders.listOrders({ pageSize, pageToken, ...filter }, call);
    return { orders: await orderView.all(page.orders, call), nextPageToken: next(page.nextPageToken) };
  },

  async getOrderWithUser({ id }, call) {
    const { order } = await reword(orders.getOrder({ id }, call), {
      NOT_FOUND: { field: "id", description: "there is no order with this id" },
    });
    return answer(order, call);
  },

  async createOrder(request, call) {
    checkCurrency(request);
    const [user] = await usersById.loadAll([request.userId], call);
    if (user === undefined) throw invalid({ field: "user_id", description: "there is no user with this id" });
    const lineItems = request.lineItems.map(({ sku, product, quantity, unitPrice }) => ({
      sku,
      product,
      quantity,
      ...(unitPrice && {
        unitPrice: { currencyCode: unitPrice.currencyCode, units: unitPrice.units, nanos: unitPrice.nanos },
      }),
    }));
    const { order } = await orders.createOrder({ userId: request.userId, lineItems }, call);
    return answer(order, call);
  },

  async *watchOrdersWithUser({ userIds, backlog }, call) {
    for await (const order of orderView.each(newOrders({ userIds, backlog }, call), call)) yield { order };
  },
});

async function answer(order: Order | undefined, call: Call) {
  return { order: await orderView.one(present(order, "order"), call) };
}

async function* newOrders(request: { userIds: string[]; backlog: number }, call: Call): AsyncIterable<Order> {
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

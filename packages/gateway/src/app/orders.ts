import { Code } from "@connectrpc/connect";
import {
  type CreateOrderRequest,
  ListOrdersWithUserRequestSchema,
  type Money,
  OrdersService,
  OrderStatusSchema as PublicOrderStatusSchema,
} from "../gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { type Order, OrderStatusSchema } from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { type Call, enumByName, PublicError, paging, present, reword, service } from "../index.ts";
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
    atMost("user_ids", userIds.length, 500);
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
      [Code.NotFound]: "id: there is no order with this id",
    });
    return answer(order, call);
  },

  async createOrder(request, call) {
    checkLines(request);
    const [user] = await usersById.loadAll([request.userId], call);
    if (user === undefined) throw invalid("user_id: there is no user with this id");
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
    atMost("user_ids", userIds.length, 500);
    atMost("backlog", backlog, 100);
    for await (const order of orderView.each(newOrders({ userIds, backlog }, call), call)) yield { order };
  },
});

async function answer(order: Order | undefined, call: Call) {
  return { order: await orderView.one(present(order, "order"), call) };
}

async function* newOrders(request: { userIds: string[]; backlog: number }, call: Call): AsyncIterable<Order> {
  for await (const { order } of orders.watchOrders(request, call)) yield present(order, "order");
}

function checkLines({ lineItems }: CreateOrderRequest): void {
  atMost("line_items", lineItems.length, 100);
  const currencies = new Set<string>();
  lineItems.forEach(({ quantity, unitPrice }, index) => {
    const line = `line_items[${index}]`;
    if (quantity < 1) throw invalid(`${line}.quantity: must be at least 1, got ${quantity}`);
    if (unitPrice === undefined) return;
    checkPrice(`${line}.unit_price`, unitPrice);
    currencies.add(unitPrice.currencyCode);
  });
  if (currencies.size > 1)
    throw invalid(`line_items: all prices must be in one currency, got ${[...currencies].join(", ")}`);
}

const maxUnits = 1_000_000n;

function checkPrice(field: string, { currencyCode, units, nanos }: Money): void {
  if (!/^[A-Z]{3}$/.test(currencyCode))
    throw invalid(`${field}.currency_code: must be three capital letters, such as EUR`);
  if (units < 0n || units > maxUnits)
    throw invalid(`${field}.units: must be from 0 to ${maxUnits}, got ${units}`);
  if (nanos < 0 || nanos > 999_999_999)
    throw invalid(`${field}.nanos: must be from 0 to 999999999, got ${nanos}`);
}

function atMost(field: string, value: number, most: number): void {
  if (value < 0) throw invalid(`${field}: must not be negative, got ${value}`);
  if (value > most) throw invalid(`${field}: at most ${most}, got ${value}`);
}

function invalid(message: string): PublicError {
  return new PublicError(Code.InvalidArgument, message);
}

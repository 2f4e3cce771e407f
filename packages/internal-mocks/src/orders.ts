import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { Orders } from "./data/orders.ts";
import type { OrdersService, WatchOrdersRequest } from "./gen/smpl/orders/v1/orders_service_pb.ts";
import { priceLines } from "./order-lines.ts";
import { readPage, takePage } from "./paging.ts";

/** The orders service over its data. The seed is that of the price list. */
export function ordersImpl(orders: Orders, seed: number): ServiceImpl<typeof OrdersService> {
  return {
    listOrders(request) {
      const { size, last = orders.size() } = readPage(
        request,
        { kind: "orders", most: 1_000 },
        orders.size(),
      );
      const { indices, nextPageToken } = takePage(orders.newestFirst(request, last), "orders", size);
      return { orders: indices.map(orders.at), nextPageToken };
    },

    getOrder({ id }) {
      const order = orders.find(id);
      if (order === undefined) throw new ConnectError(`there is no order "${id}"`, Code.NotFound);
      return { order };
    },

    createOrder({ userId, lineItems }) {
      if (userId === "") throw new ConnectError("user_id must not be empty", Code.InvalidArgument);
      return { order: orders.create(userId, priceLines(lineItems, seed)) };
    },

    async *watchOrders(request, { signal }) {
      let next = orders.size();
      for (const index of backlogOf(orders, request, next)) yield { order: orders.at(index) };
      const wanted = new Set(request.userIds);
      while (!signal.aborted) {
        for (; next < orders.size() && !signal.aborted; next++) {
          const order = orders.at(next);
          if (wanted.size === 0 || wanted.has(order.userId)) yield { order };
        }
        // Between the look at the size and this line nothing can be added: no other code runs.
        await orders.changes.next(signal);
      }
      // To end without an error would say that there is no more to come.
      signal.throwIfAborted();
    },
  };
}

// The latest orders, oldest of them first.
function backlogOf(orders: Orders, { backlog, userIds }: WatchOrdersRequest, end: number): number[] {
  if (backlog < 0) {
    throw new ConnectError(`backlog must not be negative, got ${backlog}`, Code.InvalidArgument);
  }
  if (backlog === 0) return [];
  return takePage(orders.newestFirst({ userIds }, end), "orders", Math.min(backlog, 100)).indices.reverse();
}

import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Order, OrderStatus } from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { createGroups } from "./groups.ts";
import { countDown, mergeDown, type Rising } from "./merge.ts";
import { indexOfId, type Table } from "./table.ts";
import { ceilMs, lowerBound } from "./times.ts";

/** Which orders; an absent or empty field lets all pass. */
export interface OrderFilter {
  userIds?: readonly string[];
  status?: OrderStatus;
  /** At this time or later. */
  createdFrom?: Timestamp | undefined;
  /** Before this time. */
  createdBefore?: Timestamp | undefined;
}

/** What can be known of a seeded order without making it. */
export interface OrderFacts {
  userAt(index: number): number;
  statusAt(index: number): OrderStatus;
  createMs(index: number): number;
}

/** Finds orders. */
interface OrderSearch {
  /** The indices of the orders that pass a filter, newest first, below a bound. */
  newestFirst(filter: OrderFilter, bound: number): Generator<number>;
  /** Takes note of an order that is being added. */
  add(userId: string, index: number): void;
}

/** What is searched. */
interface OrderSearchOptions {
  table: Table<Order>;
  /** How many orders, and how many users, there were from the start. */
  seeded: number;
  users: number;
  facts: OrderFacts;
}

/**
 * Makes the search. Users are found by an index that is built at the first question, times by halving (they never
 * fall as the index rises). Only the status is looked at order by order, and without making the order.
 */
export function createOrderSearch({ table, seeded, users, facts }: OrderSearchOptions): OrderSearch {
  const seededByUser = createGroups(seeded, Math.max(users, 1), facts.userAt);
  const addedByUser = new Map<string, number[]>();

  const createMs = (index: number) =>
    index < seeded ? facts.createMs(index) : createTimeMs(table.at(index));
  const statusAt = (index: number) => (index < seeded ? facts.statusAt(index) : table.at(index).status);
  const firstAt = (time: Timestamp) => lowerBound(table.size(), createMs, ceilMs(time));

  function listsOf(userIds: readonly string[]): Rising[] {
    return [...new Set(userIds)].flatMap((id) => {
      const user = indexOfId("user", id);
      return [user === undefined ? [] : seededByUser(user), addedByUser.get(id) ?? []];
    });
  }

  return {
    *newestFirst({ userIds = [], status = OrderStatus.UNSPECIFIED, createdFrom, createdBefore }, bound) {
      const first = createdFrom === undefined ? 0 : firstAt(createdFrom);
      const end = createdBefore === undefined ? bound : Math.min(bound, firstAt(createdBefore));
      for (const index of userIds.length === 0 ? countDown(end) : mergeDown(listsOf(userIds), end)) {
        if (index < first) return;
        if (status === OrderStatus.UNSPECIFIED || statusAt(index) === status) yield index;
      }
    },
    add(userId, index) {
      const known = addedByUser.get(userId);
      if (known === undefined) addedByUser.set(userId, [index]);
      else known.push(index);
    },
  };
}

function createTimeMs(order: Order): number {
  return order.createTime === undefined ? 0 : timestampMs(order.createTime);
}

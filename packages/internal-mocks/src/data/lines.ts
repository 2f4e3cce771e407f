import { create } from "@bufbuild/protobuf";
import { type LineItem, LineItemSchema, type Money } from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { type Currency, type Product, priceOf } from "./catalogue.ts";
import { fromNanos, toNanos } from "./money.ts";

/** Makes one line of an order, at the catalogue's price unless another is given. */
export function createLine(item: Product, quantity: number, currency: Currency, price?: Money): LineItem {
  const unitPrice = price ?? priceOf(item, currency);
  return create(LineItemSchema, {
    sku: item.sku,
    product: item.name,
    quantity,
    unitPrice,
    unitCost: fromNanos(unitPrice.currencyCode, (toNanos(unitPrice) * 6n) / 10n),
  });
}

/** What lines of one currency cost together. */
export function totalOf(lines: readonly [LineItem, ...LineItem[]]): Money {
  let nanos = 0n;
  for (const { quantity, unitPrice } of lines) {
    if (unitPrice !== undefined) nanos += toNanos(unitPrice) * BigInt(quantity);
  }
  return fromNanos(lines[0].unitPrice?.currencyCode ?? "", nanos);
}

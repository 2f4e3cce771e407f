import { Code, ConnectError } from "@connectrpc/connect";
import { currencies, findCurrency, findProduct } from "./data/catalogue.ts";
import { createLine } from "./data/lines.ts";
import type { LineItem, Money } from "./gen/smpl/orders/v1/orders_service_pb.ts";

/**
 * Checks the lines of a new order and prices those that name no price, in the currency of those that do (US dollars
 * if none does).
 *
 * Errors: INVALID_ARGUMENT naming the field for no line, a line without product and sku, a quantity below 1, a price
 * that is no amount of money, two currencies.
 */
export function priceLines(given: readonly LineItem[], seed: number): [LineItem, ...LineItem[]] {
  const code = given.find((line) => line.unitPrice !== undefined)?.unitPrice?.currencyCode;
  const currency = code === undefined ? currencies[0] : findCurrency(code);
  const priced = given.map((line, index) => {
    const problem = problemOf(line, currency.code);
    if (problem !== undefined) {
      throw new ConnectError(`line_items[${index}].${problem}`, Code.InvalidArgument);
    }
    return createLine(findProduct(seed, line.sku, line.product), line.quantity, currency, line.unitPrice);
  });
  const [first, ...more] = priced;
  if (first === undefined) throw new ConnectError("line_items must not be empty", Code.InvalidArgument);
  return [first, ...more];
}

function problemOf(
  { product, sku, quantity, unitPrice }: LineItem,
  currencyCode: string,
): string | undefined {
  if (product === "" && sku === "") return "product must not be empty";
  if (quantity < 1) return `quantity must be at least 1, got ${quantity}`;
  return unitPrice === undefined ? undefined : problemOfPrice(unitPrice, currencyCode);
}

function problemOfPrice({ currencyCode, units, nanos }: Money, expected: string): string | undefined {
  if (!/^[A-Z]{3}$/.test(currencyCode))
    return `unit_price.currency_code must be three letters, got "${currencyCode}"`;
  if (currencyCode !== expected) return `unit_price.currency_code must be ${expected} as in the lines before`;
  if (units < 0n || units > mostUnits) return `unit_price.units must be from 0 to ${mostUnits}, got ${units}`;
  if (nanos < 0 || nanos > 999_999_999) return `unit_price.nanos must be from 0 to 999,999,999, got ${nanos}`;
  return undefined;
}

// Times the largest quantity and thousands of lines this still fits the 64 bits of a total.
const mostUnits = 1_000_000n;

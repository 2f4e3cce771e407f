import type { Money } from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { createDraw } from "./draw.ts";
import { fromNanos, nanosPerUnit } from "./money.ts";

/** Something that is sold and kept in stock. */
export interface Product {
  sku: string;
  name: string;
  /** Price in billionths of a US dollar. */
  nanos: bigint;
}

/** A currency, its worth and its smallest coin. */
export interface Currency {
  code: string;
  /** How many thousandths of it one US dollar is. */
  rate: bigint;
  /** The smallest coin, in billionths. */
  coin: bigint;
}

/** What is sold. The sheet of paper costs less than a coin, so that sums of it carry. */
export const products: readonly [Product, ...Product[]] = [
  product("KB-100", "Mechanical keyboard", 12_990),
  product("MS-210", "Wireless mouse", 3_950),
  product("MN-270", '27" monitor', 28_900),
  product("CB-002", "USB-C cable", 999),
  product("HB-007", "USB hub", 2_449),
  product("WC-040", "Webcam", 6_995),
  product("HS-310", "Headset", 8_900),
  product("LP-014", 'Laptop 14"', 119_900),
  product("LS-001", "Laptop stand", 4_495),
  product("DK-180", "Standing desk", 49_900),
  product("CH-550", "Office chair", 33_333),
  product("LM-012", "Desk lamp", 3_775),
  product("NB-005", "Notebook, A5", 685),
  product("PN-003", "Fountain pen", 2_700),
  product("PP-080", "Paper, single sheet", 1.2345),
  product("CF-250", "Café crème, 250 g", 890),
];

/** What is paid with. */
export const currencies: readonly [Currency, ...Currency[]] = [
  { code: "USD", rate: 1_000n, coin: 10_000_000n },
  { code: "EUR", rate: 920n, coin: 10_000_000n },
  { code: "GBP", rate: 790n, coin: 10_000_000n },
  { code: "JPY", rate: 150_000n, coin: nanosPerUnit },
];

/** What a product costs in a currency. */
export function priceOf(item: Product, currency: Currency): Money {
  const exact = (item.nanos * currency.rate) / 1_000n;
  const coin = exact < currency.coin * 10n ? 1n : currency.coin;
  return fromNanos(currency.code, exact - (exact % coin));
}

/**
 * Finds a product by its sku or its name; one that is not in the catalogue gets a price by chance, always the same.
 */
export function findProduct(seed: number, sku: string, name: string): Product {
  const known = products.find((item) => (name === "" ? item.sku === sku : item.name === name));
  if (known !== undefined) return { ...known, sku: sku || known.sku };
  const price = 100 + Math.floor(createDraw(seed, `catalogue.price/${name || sku}`)(0) * 9_900);
  return product(sku || `XX-${price}`, name || sku, price);
}

/** Finds a currency by its code; one that is not in the list is taken at par with the dollar. */
export function findCurrency(code: string): Currency {
  return currencies.find((currency) => currency.code === code) ?? { ...currencies[0], code };
}

function product(sku: string, name: string, cents: number): Product {
  return { sku, name, nanos: BigInt(Math.round(cents * 10_000_000)) };
}

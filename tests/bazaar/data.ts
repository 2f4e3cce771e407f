import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { companies, notes, places, purchases, shoppers } from "./protos.ts";

// What the internal services of the bazaar know: 500 purchases of 200 shoppers, who buy for 50 companies.

export const purchaseCount = 500;
export const shopperCount = 200;
export const companyCount = 50;
export const lanternCount = 7;
export const stallCount = 20;

/** Purchases, from 1 on. */
export function purchaseOf(
  number: number,
  parts: Partial<Omit<purchases.Purchase, "$typeName">> = {},
): purchases.Purchase {
  const purchase = create(purchases.PurchaseSchema, {
    id: `purchase-${number}`,
    shopperId: shopperIdOf(number),
    article: `article ${number}`,
    price: { currency: "EUR", units: 2n ** 53n + BigInt(number), nanos: 10 },
    phase: purchases.Phase.SHIPPED,
    hallId: `hall-${number % 5}`,
    shelfNumber: 1 + (number % 6),
    stallId: BigInt(1 + (number % stallCount)),
    lanternCode: `lantern-${1 + (number % lanternCount)}`,
    purchaseTime: timestampFromMs(1_700_000_000_000 + number),
    lines: [
      { article: "string", count: number, price: { currency: "EUR", units: 1n } },
      { article: "paper" },
    ],
    fees: { customs: { currency: "EUR", units: 3n }, "a.b": { currency: "USD" } },
    payment: { case: "card", value: { tail: "1234" } },
    haggleCount: number,
  });
  return Object.assign(purchase, parts);
}

/** More than a number of JavaScript holds exactly. */
export function shopperIdOf(purchase: number): bigint {
  return firstShopper + BigInt(purchase % shopperCount);
}

const firstShopper = 2n ** 60n;

export function shopperOf(id: bigint): shoppers.Shopper | undefined {
  const index = Number(id - firstShopper);
  if (index < 0 || index >= shopperCount) return undefined;
  return create(shoppers.ShopperSchema, {
    id,
    name: `Shopper ${index}`,
    ...(index % 2 === 1 && { nickname: `nick ${index}`, rank: shoppers.Rank.STRANGER }),
    companyCode: `company-${index % companyCount}`,
    contact: { mail: `shopper-${index}@bazaar.test` },
    visit: [{ day: 1 }, { day: index }],
  });
}

export function companyOf(code: string): companies.Company | undefined {
  const index = Number(code.replace("company-", ""));
  if (!(index < companyCount)) return undefined;
  return create(companies.CompanySchema, {
    code,
    legalName: `Company ${index}`,
    seat: { town: `Town ${index}` },
    sector: index % 2 === 0 ? companies.Sector.CRAFT : companies.Sector.TRADE,
    staffCount: index,
    ownerCode: index === 0 ? "" : "company-0",
    branches: [{ town: "Elsewhere" }],
  });
}

export function shelfOf({ hallId, number }: places.ShelfKey): places.Shelf {
  return create(places.ShelfSchema, { key: { hallId, number }, label: `${hallId}/${number}` });
}

export function stallOf(id: bigint): places.Stall | undefined {
  if (id < 1n || id > stallCount) return undefined;
  return create(places.StallSchema, { id, sign: `Stall ${id}`, ownerId: firstShopper });
}

export const lanterns: readonly places.Lantern[] = Array.from({ length: lanternCount }, (_, index) =>
  create(places.LanternSchema, { code: `lantern-${index + 1}`, colour: `colour ${index + 1}` }),
);

/** Two notes on each of the first hundred purchases, none on the others. */
export function notesOn(purchaseId: string): notes.Note[] {
  const number = Number(purchaseId.replace("purchase-", ""));
  if (!(number <= 100)) return [];
  return [1, 2].map((stars) =>
    create(notes.NoteSchema, { purchaseId, text: `note ${stars}`, authorId: shopperIdOf(stars), stars }),
  );
}

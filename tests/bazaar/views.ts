import {
  cases,
  computed,
  constant,
  enumByName,
  mapped,
  nested,
  related,
  summarized,
  view,
} from "@portico/gateway";
import {
  companiesByCode,
  lanternsByCode,
  notesByPurchase,
  shelvesByKey,
  shoppersById,
  stallsById,
} from "./loaders.ts";
import { companies, notes, pub, purchases, shoppers } from "./protos.ts";

const publicState = enumByName(purchases.PhaseSchema, pub.StateSchema, {
  onUnknown: "default",
  onUnmapped: "default",
  renamed: { PHASE_BROUGHT_BACK: "STATE_RETURNED" },
});

const publicRank = enumByName(shoppers.RankSchema, pub.RankSchema, {
  onUnknown: "default",
  onUnmapped: "default",
});

const publicSector = enumByName(companies.SectorSchema, pub.SectorSchema, {
  onUnknown: "default",
  onUnmapped: "default",
});

const partial = { onMissing: "empty", onError: "partial" } as const;

export const moneyView = view(purchases.PriceSchema, pub.MoneySchema, { currencyCode: "currency" });

export const itemView = view(purchases.LineSchema, pub.ItemSchema, {
  title: "article",
  price: nested(moneyView, "price"),
});

export const companyView = view(companies.CompanySchema, pub.CompanySchema, {
  name: "legalName",
  town: "seat.town",
  sector: mapped(publicSector, "sector"),
  ownerName: related(companiesByCode, "ownerCode", "legalName", partial),
});

export const visitView = view(shoppers.Shopper_VisitSchema, pub.VisitSchema, {});

export const shopperView = view(shoppers.ShopperSchema, pub.ShopperSchema, {
  nickname: computed(["nickname"], (nickname) => nickname),
  rank: mapped(publicRank, "rank"),
  company: related(companiesByCode, "companyCode", companyView, partial),
  visits: nested(visitView, "visit"),
});

export const noteView = view(notes.NoteSchema, pub.NoteSchema, {
  authorName: related(shoppersById, "authorId", "name", partial),
});

export const purchaseView = view(purchases.PurchaseSchema, pub.PurchaseSchema, {
  title: "article",
  total: nested(moneyView, "price"),
  state: mapped(publicState, "phase"),
  items: nested(itemView, "lines"),
  fees: nested(moneyView, "fees"),
  settlement: cases({
    cardTail: computed(["payment.card"], (card) => card?.tail),
    voucher: "payment.voucherCode",
    dueState: mapped(publicState, "payment.duePhase"),
  }),
  haggleCount: computed(["haggleCount"], (haggleCount) => BigInt(haggleCount)),
  source: constant("bazaar"),
  shopperName: related(shoppersById, "shopperId", "name", partial),
  shopperMail: related(shoppersById, "shopperId", "contact.mail", partial),
  companyName: related(
    shoppersById,
    "shopperId",
    related(companiesByCode, "companyCode", "legalName", partial),
    partial,
  ),
  shopper: related(shoppersById, "shopperId", shopperView, partial),
  stallSign: related(stallsById, "stallId", "sign", partial),
  shelfLabel: related(shelvesByKey, ["hallId", "shelfNumber"], "label", partial),
  lanternColour: related(lanternsByCode, "lanternCode", "colour", partial),
  notes: related(notesByPurchase, "id", noteView, partial),
  starCount: related(
    notesByPurchase,
    "id",
    summarized(["stars"], (stars) => stars.reduce((sum, count) => sum + count, 0)),
    partial,
  ),
});

export const receiptView = view(purchases.PurchaseSchema, pub.ReceiptSchema, {
  title: "article",
  shopperName: related(shoppersById, "shopperId", "name", partial),
  companyName: related(
    shoppersById,
    "shopperId",
    related(companiesByCode, "companyCode", "legalName", partial),
    partial,
  ),
});

/** All views of what is bought, by whom and where. */
export const purchaseViews = [
  moneyView,
  itemView,
  companyView,
  visitView,
  shopperView,
  noteView,
  purchaseView,
  receiptView,
];

import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import {
  cases,
  computed,
  constant,
  enumByName,
  itself,
  mapPagedRequest,
  mapped,
  mapRequest,
  nested,
  packed,
  type RequestMap,
} from "@portico/gateway";
import { charms, curios, pub, pubCharms, pubCurios, pubRelics, purchases, relics } from "./protos.ts";

const internalPhase = enumByName(pub.StateSchema, purchases.PhaseSchema, {
  onUnknown: "fail",
  renamed: { STATE_RETURNED: "PHASE_BROUGHT_BACK" },
});

const pages = { defaultSize: 50, maxSize: 500 };

export const getPurchase = mapRequest(pub.GetPurchaseRequestSchema, purchases.GetPurchaseRequestSchema, {});

export const watchPurchases = mapRequest(
  pub.WatchPurchasesRequestSchema,
  purchases.WatchPurchasesRequestSchema,
  {},
);

export const listReceipts = mapPagedRequest(
  pub.ListReceiptsRequestSchema,
  purchases.ListPurchasesRequestSchema,
  {},
  pages,
);

/** What is flat for the public stands in a message of its own inside. */
export const filter = mapRequest(
  pub.ListPurchasesRequestSchema,
  purchases.FilterSchema,
  {
    phases: mapped(internalPhase, "states"),
    whose: cases({ shopperId: "buyer.shopperId", companyCode: "buyer.company" }),
    secretIncludeFraud: constant(false),
  },
  { handled: ["pageSize", "pageToken"] },
);

export const listPurchases = mapPagedRequest(
  pub.ListPurchasesRequestSchema,
  purchases.ListPurchasesRequestSchema,
  { filter: itself(filter) },
  pages,
);

export const money = mapRequest(pub.MoneySchema, purchases.PriceSchema, { currency: "currencyCode" });

export const item = mapRequest(pub.ItemSchema, purchases.LineSchema, {
  article: "title",
  price: nested(money, "price"),
});

export const recorded = mapRequest(pub.RecordPurchaseRequestSchema, purchases.PurchaseSchema, {
  article: "title",
  price: nested(money, "total"),
  phase: mapped(internalPhase, "state"),
  lines: nested(item, "items"),
  fees: nested(money, "fees"),
  payment: cases({
    card: computed(["settlement.cardTail"], (tail) =>
      tail === undefined ? undefined : create(purchases.CardSchema, { tail }),
    ),
    voucherCode: "settlement.voucher",
    duePhase: constant(undefined),
    secretToken: constant(undefined),
  }),
});

const internalGrade = enumByName(pubCurios.GradeSchema, curios.GradeSchema, { onUnknown: "pass" });

const knob = mapRequest(pubCurios.KnobSchema, curios.KnobSchema, {});

const verdict = mapRequest(pubCurios.VerdictSchema, curios.VerdictSchema, {});

const trap = mapRequest(pubCurios.TrapSchema, curios.TrapSchema, {
  hasOwnProperty: "hasOwnProperty",
  isPrototypeOf: "isPrototypeOf",
  case: cases({ value: "case.value", undefined: nested(verdict, "case.undefined") }),
});

const crate: RequestMap<pubCurios.Crate, curios.Crate> = mapRequest(
  pubCurios.CrateSchema,
  curios.CrateSchema,
  { curios: nested(() => curio, "curios") },
);

/** The way back of a curio: what the public sends becomes what is kept inside, without its secrets. */
export const curio: RequestMap<pubCurios.Curio, curios.Curio> = mapRequest(
  pubCurios.CurioSchema,
  curios.CurioSchema,
  {
    nullValue: "nullValue",
    oneAny: packed("oneAny", [DurationSchema]),
    oneGrade: mapped(internalGrade, "oneGrade"),
    maybeGrade: mapped(internalGrade, "maybeGrade"),
    manyGrade: mapped(internalGrade, "manyGrade"),
    gradesByName: mapped(internalGrade, "gradesByName"),
    gradesByBool: mapped(internalGrade, "gradesByBool"),
    knob: nested(knob, "knob"),
    manyKnob: nested(knob, "manyKnob"),
    knobsByName: nested(knob, "knobsByName"),
    knobsByInt64: nested(knob, "knobsByInt64"),
    knobsByBool: nested(knob, "knobsByBool"),
    inner: nested(() => curio, "inner"),
    parts: nested(() => curio, "parts"),
    partsByName: nested(() => curio, "partsByName"),
    crate: nested(crate, "crate"),
    grip: cases({
      gripText: "grip.gripText",
      gripNumber: "grip.gripNumber",
      gripBytes: "grip.gripBytes",
      gripGrade: mapped(internalGrade, "grip.gripGrade"),
      gripKnob: nested(knob, "grip.gripKnob"),
      gripCurio: nested(() => curio, "grip.gripCurio"),
      gripTime: "grip.gripTime",
      gripWrapped: "grip.gripWrapped",
      gripEmpty: "grip.gripEmpty",
    }),
    trap: nested(trap, "trap"),
    verdict: nested(verdict, "verdict"),
  },
);

export const storeCurio = mapRequest(pubCurios.StoreCurioRequestSchema, curios.StoreCurioRequestSchema, {
  curio: nested(curio, "curio"),
});

export const getCurio = mapRequest(pubCurios.GetCurioRequestSchema, curios.GetCurioRequestSchema, {});

export const getRelic = mapRequest(pubRelics.GetRelicRequestSchema, relics.GetRelicRequestSchema, {});

export const getCharm = mapRequest(pubCharms.GetCharmRequestSchema, charms.GetCharmRequestSchema, {});

export const requests = [
  getPurchase,
  watchPurchases,
  listReceipts,
  listPurchases,
  recorded,
  filter,
  money,
  item,
  curio,
  storeCurio,
  getCurio,
  getRelic,
  getCharm,
];

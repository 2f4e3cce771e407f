import type { DescMessage, DescMethod, Message, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { withCanaries } from "./canaries.ts";
import {
  companyOf,
  lanterns,
  notesOn,
  purchaseCount,
  purchaseOf,
  shelfOf,
  shopperOf,
  stallOf,
} from "./data.ts";
import { charms, companies, curios, notes, places, purchases, relics, shoppers } from "./protos.ts";

/** One call that the internal services got. `began` and `ended` count all beginnings and ends, in their order. */
export interface RecordedCall {
  /** The name of the method: `BatchGetShoppers`. */
  readonly method: string;
  readonly request: Message;
  readonly began: number;
  /** `undefined` while it goes on. */
  readonly ended: number | undefined;
}

/** What a test changes about the internal services. */
export interface Behaviour {
  /** Runs before a call is answered, and can throw, or wait. */
  readonly before?: (method: string, request: Message) => unknown;
  readonly purchase?: (number: number) => purchases.Purchase;
  readonly curio?: curios.Curio;
  readonly relic?: relics.Relic;
  readonly charm?: charms.Charm;
}

/** The internal services of the bazaar, all in one. */
export interface Routes {
  readonly routes: (router: ConnectRouter) => void;
  readonly calls: () => readonly RecordedCall[];
  readonly forgetCalls: () => void;
  readonly behave: (behaviour: Behaviour) => void;
  /** How many messages were taken from the stream that began last, and whether it is over. */
  readonly stream: () => { readonly taken: number; readonly over: boolean };
}

/** Creates the internal services. Every secret in their answers has the canary in it. */
export function createRoutes(): Routes {
  let behaviour: Behaviour = {};
  let calls: RecordedCall[] = [];
  let moments = 0;
  let stream = { taken: 0, over: true };
  const record = async <T>(method: DescMethod, request: Message, run: () => T): Promise<T> => {
    const call = { method: method.name, request, began: ++moments, ended: undefined as number | undefined };
    calls.push(call);
    try {
      await behaviour.before?.(method.name, request);
      return run();
    } finally {
      call.ended = ++moments;
    }
  };
  const unary =
    <I extends DescMessage, O extends DescMessage>(
      method: DescMethod & { readonly input: I; readonly output: O },
      run: (request: MessageShape<I>) => MessageInitShape<O>,
    ) =>
    (request: MessageShape<I>): Promise<MessageShape<O>> =>
      record(method, request, () => withCanaries(method.output, create(method.output, run(request))));
  const purchase = (number: number) => behaviour.purchase?.(number) ?? purchaseOf(number);

  const routes = (router: ConnectRouter) => {
    const { method: ofPurchases } = purchases.PurchasesService;
    router.service(purchases.PurchasesService, {
      getPurchase: unary(ofPurchases.getPurchase, ({ id }) => {
        const number = Number(id.replace("purchase-", ""));
        if (!(number <= purchaseCount)) throw new ConnectError("no purchase", Code.NotFound);
        return { purchase: purchase(number) };
      }),
      listPurchases: unary(ofPurchases.listPurchases, ({ pageSize, pageToken }) => {
        const start = Number(pageToken);
        const end = Math.min(start + pageSize, purchaseCount);
        return {
          purchases: Array.from({ length: end - start }, (_, index) => purchase(start + index + 1)),
          nextPageToken: end < purchaseCount ? String(end) : "",
        };
      }),
      recordPurchase: unary(ofPurchases.recordPurchase, ({ purchase }) => ({
        ...(purchase && { purchase }),
      })),
      watchPurchases: async function* (request, { signal }) {
        const current = { taken: 0, over: false };
        stream = current;
        await record(ofPurchases.watchPurchases, request, () => {});
        try {
          for (let number = 1; number <= request.count && !signal.aborted; number++) {
            current.taken = number;
            yield withCanaries(
              purchases.WatchPurchasesResponseSchema,
              create(purchases.WatchPurchasesResponseSchema, { purchase: purchase(number) }),
            );
          }
        } finally {
          current.over = true;
        }
      },
    });
    const { method: ofShoppers } = shoppers.ShoppersService;
    router.service(shoppers.ShoppersService, {
      getShopper: unary(ofShoppers.getShopper, ({ id }) => ({ shopper: found(shopperOf(id)) })),
      // In reverse, and with one that nobody asked for: entities are matched by key, never by position.
      batchGetShoppers: unary(ofShoppers.batchGetShoppers, ({ ids }) => ({
        shoppers: [...ids.flatMap((id) => shopperOf(id) ?? []).reverse(), { id: -1n, name: "Nobody" }],
      })),
    });
    router.service(companies.CompaniesService, {
      batchGetCompanies: unary(companies.CompaniesService.method.batchGetCompanies, ({ codes }) => ({
        companies: codes.flatMap((code) => companyOf(code) ?? []).reverse(),
      })),
    });
    router.service(places.ShelvesService, {
      batchGetShelves: unary(places.ShelvesService.method.batchGetShelves, ({ keys }) => ({
        shelves: keys.map(shelfOf).reverse(),
      })),
    });
    router.service(places.StallsService, {
      batchGetStalls: unary(places.StallsService.method.batchGetStalls, () => {
        throw new ConnectError("nobody wrote it", Code.Unimplemented);
      }),
      getStall: unary(places.StallsService.method.getStall, ({ id }) => ({ stall: found(stallOf(id)) })),
    });
    router.service(places.LanternsService, {
      listLanterns: unary(places.LanternsService.method.listLanterns, ({ pageToken }) =>
        pageToken === ""
          ? { lanterns: lanterns.slice(0, 4), nextPageToken: "more" }
          : { lanterns: lanterns.slice(4) },
      ),
    });
    router.service(notes.NotesService, {
      listNotes: unary(notes.NotesService.method.listNotes, ({ purchaseIds, pageToken }) => {
        const all = purchaseIds.flatMap(notesOn);
        const start = Number(pageToken);
        const end = start + notesPerPage;
        return { notes: all.slice(start, end), nextPageToken: end < all.length ? String(end) : "" };
      }),
    });
    router.service(curios.CuriosService, {
      getCurio: unary(curios.CuriosService.method.getCurio, () => ({ curio: behaviour.curio ?? {} })),
      storeCurio: unary(curios.CuriosService.method.storeCurio, ({ curio = {} }) => ({ curio })),
    });
    router.service(relics.RelicsService, {
      getRelic: unary(relics.RelicsService.method.getRelic, () => ({ relic: behaviour.relic ?? {} })),
    });
    router.service(charms.CharmsService, {
      getCharm: unary(charms.CharmsService.method.getCharm, () => ({ charm: behaviour.charm ?? {} })),
    });
  };
  return {
    routes,
    calls: () => calls,
    forgetCalls: () => {
      calls = [];
    },
    behave: (next) => {
      behaviour = next;
    },
    stream: () => stream,
  };
}

/** How many notes `ListNotes` gives at a time. */
export const notesPerPage = 60;

function found<T>(entity: T | undefined): T {
  if (entity === undefined) throw new ConnectError("nothing has this id", Code.NotFound);
  return entity;
}

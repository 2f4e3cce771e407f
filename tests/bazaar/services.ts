import { present, reword, service, type View } from "@portico/gateway";
import { charmView, curioView, relicView } from "./cabinet-views.ts";
import { pub, pubCharms, pubCurios, pubRelics, type purchases } from "./protos.ts";
import * as requests from "./requests.ts";
import { charmsUpstream, curiosUpstream, purchasesUpstream, relicsUpstream } from "./upstreams.ts";
import { purchaseView, receiptView } from "./views.ts";

/** How receipts are made. */
export type ReceiptView = View<purchases.Purchase, pub.Receipt>;

/** The public service of the bazaar; a test can have receipts made in another way. */
export function bazaarService(receipts: ReceiptView = receiptView) {
  return service(pub.BazaarService, {
    async listPurchases(request, call) {
      const page = requests.listPurchases(request);
      const { purchases, nextPageToken } = await purchasesUpstream.listPurchases(page.request, call);
      return { purchases: await purchaseView.all(purchases, call), nextPageToken: page.next(nextPageToken) };
    },

    async listReceipts(request, call) {
      const page = requests.listReceipts(request);
      const { purchases, nextPageToken } = await purchasesUpstream.listPurchases(page.request, call);
      return { receipts: await receipts.all(purchases, call), nextPageToken: page.next(nextPageToken) };
    },

    async getPurchase(request, call) {
      const { purchase } = await reword(purchasesUpstream.getPurchase(requests.getPurchase(request), call), {
        NOT_FOUND: { field: "id", description: "there is no purchase with this id" },
      });
      return { purchase: await purchaseView.one(present(purchase, "purchase"), call) };
    },

    async recordPurchase(request, call) {
      const { purchase } = await purchasesUpstream.recordPurchase(
        { purchase: requests.recorded(request) },
        call,
      );
      return { purchase: await purchaseView.one(present(purchase, "purchase"), call) };
    },

    async *watchPurchases(request, call) {
      const answers = purchasesUpstream.watchPurchases(requests.watchPurchases(request), call);
      for await (const purchase of purchaseView.each(purchasesIn(answers), call)) yield { purchase };
    },
  });
}

async function* purchasesIn(answers: AsyncIterable<purchases.WatchPurchasesResponse>) {
  for await (const { purchase } of answers) yield present(purchase, "purchase");
}

export const curiosService = service(pubCurios.CuriosService, {
  async getCurio(request, call) {
    const { curio } = await curiosUpstream.getCurio(requests.getCurio(request), call);
    return { curio: await curioView.one(present(curio, "curio"), call) };
  },

  async storeCurio(request, call) {
    const { curio } = await curiosUpstream.storeCurio(requests.storeCurio(request), call);
    return { curio: await curioView.one(present(curio, "curio"), call) };
  },
});

export const relicsService = service(pubRelics.RelicsService, {
  async getRelic(request, call) {
    const { relic } = await relicsUpstream.getRelic(requests.getRelic(request), call);
    return { relic: await relicView.one(present(relic, "relic"), call) };
  },
});

export const charmsService = service(pubCharms.CharmsService, {
  async getCharm(request, call) {
    const { charm } = await charmsUpstream.getCharm(requests.getCharm(request), call);
    return { charm: await charmView.one(present(charm, "charm"), call) };
  },
});

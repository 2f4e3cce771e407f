import { groupLoader, loader } from "@portico/gateway";
import {
  companiesUpstream,
  lanternsUpstream,
  notesUpstream,
  shelvesUpstream,
  shoppersUpstream,
  stallsUpstream,
} from "./upstreams.ts";

// One loader of every kind.

/** By keys of 64 bits. */
export const shoppersById = loader(shoppersUpstream, {
  batch: {
    method: "batchGetShoppers",
    request: (ids) => ({ ids }),
    items: "shoppers",
    key: "id",
    max: 500,
  },
});

export const companiesByCode = loader(companiesUpstream, {
  batch: {
    method: "batchGetCompanies",
    request: (codes) => ({ codes }),
    items: "companies",
    key: "code",
    max: 500,
  },
});

/** By keys of two parts, which stand in a message of their own. */
export const shelvesByKey = loader(shelvesUpstream, {
  batch: {
    method: "batchGetShelves",
    request: (keys) => ({ keys: keys.map(([hallId, number]) => ({ hallId, number })) }),
    items: "shelves",
    key: ["key.hallId", "key.number"],
    max: 20,
  },
});

/** Of a service that declares a batch rpc and has none. */
export const stallsById = loader(stallsUpstream, {
  batch: { method: "batchGetStalls", request: (ids) => ({ ids }), items: "stalls", key: "id", max: 100 },
  single: { method: "getStall", request: (id) => ({ id }), item: "stall", concurrency: 4 },
});

/** Of a service that can only give everything. */
export const lanternsByCode = loader(lanternsUpstream, {
  all: {
    method: "listLanterns",
    request: (pageToken) => ({ pageToken }),
    items: "lanterns",
    key: "code",
    nextPageToken: "nextPageToken",
  },
});

/** All notes on a purchase, some pages of them. */
export const notesByPurchase = groupLoader(notesUpstream, {
  batch: {
    method: "listNotes",
    request: (purchaseIds, pageToken) => ({ purchaseIds, pageToken }),
    items: "notes",
    key: "purchaseId",
    max: 250,
    nextPageToken: "nextPageToken",
  },
});

export const loaders = [
  shoppersById,
  companiesByCode,
  shelvesByKey,
  stallsById,
  lanternsByCode,
  notesByPurchase,
];

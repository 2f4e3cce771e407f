import { upstream } from "@portico/gateway";
import { charms, companies, curios, notes, places, purchases, relics, shoppers } from "./protos.ts";

export const purchasesUpstream = upstream("purchases", purchases.PurchasesService);
export const shoppersUpstream = upstream("shoppers", shoppers.ShoppersService);
export const companiesUpstream = upstream("companies", companies.CompaniesService);
export const shelvesUpstream = upstream("shelves", places.ShelvesService);
export const stallsUpstream = upstream("stalls", places.StallsService);
export const lanternsUpstream = upstream("lanterns", places.LanternsService);
export const notesUpstream = upstream("notes", notes.NotesService);
export const curiosUpstream = upstream("curios", curios.CuriosService);
export const relicsUpstream = upstream("relics", relics.RelicsService);
export const charmsUpstream = upstream("charms", charms.CharmsService);

export const upstreams = [
  purchasesUpstream,
  shoppersUpstream,
  companiesUpstream,
  shelvesUpstream,
  stallsUpstream,
  lanternsUpstream,
  notesUpstream,
  curiosUpstream,
  relicsUpstream,
  charmsUpstream,
];

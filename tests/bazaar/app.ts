import type { App } from "@portico/gateway";
import { cabinetViews } from "./cabinet-views.ts";
import { loaders } from "./loaders.ts";
import { requests } from "./requests.ts";
import { bazaarService, charmsService, curiosService, relicsService } from "./services.ts";
import { upstreams } from "./upstreams.ts";
import { purchaseViews } from "./views.ts";

/** The API of the bazaar as a whole, as the commands take it. */
export const app: App = {
  services: [bazaarService(), curiosService, relicsService, charmsService],
  upstreams,
  views: [...cabinetViews, ...purchaseViews],
  loaders,
  requests,
};

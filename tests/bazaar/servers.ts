import { listen } from "../../packages/internal-mocks/src/listen.ts";
import { createRoutes, type Routes } from "./routes.ts";

/** The internal services of the bazaar, over real sockets, all on one port. */
export interface Servers extends AsyncDisposable, Omit<Routes, "routes"> {
  readonly url: string;
}

/** Starts the internal services. */
export async function startServers(): Promise<Servers> {
  const { routes, ...rest } = createRoutes();
  const { port, close } = await listen(routes, "127.0.0.1", 0);
  return { ...rest, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: close };
}

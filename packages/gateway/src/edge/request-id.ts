import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";

/**
 * The id of a request. A caller's own is kept if it is harmless to repeat; it helps to follow a call through several
 * systems.
 */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : randomUUID();
}

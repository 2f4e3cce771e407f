import type { Logger } from "pino";
import { StartError } from "../errors.ts";
import { createWatchedFile, type WatchedFile } from "../watched-file.ts";

/**
 * The gateway's own credentials, as they are now. Tokens of workloads are short-lived: whoever issues them writes the
 * file anew.
 *
 * @param path of the file; without one, the gateway has no credentials
 */
export function watchGatewayToken(path: string | undefined, log: Logger): WatchedFile<string> | undefined {
  if (path === undefined) return undefined;
  const parse = (text: string): string => parseGatewayToken(text, `GATEWAY_TOKEN_FILE (${path})`);
  return createWatchedFile({ path, name: "GATEWAY_TOKEN_FILE", log, parse });
}

/** Reads the gateway's own credentials: a token, on one line. Throws a {@link StartError} for anything else. */
export function parseGatewayToken(text: string, file: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]{1,8192}$/.test(token)) return token;
  throw new StartError([`${file}: must be one token, of 1 to 8192 printable characters without spaces`]);
}

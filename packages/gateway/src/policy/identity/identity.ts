import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { createWatchedFile, type WatchedFile } from "../../watched-file.ts";
import type { AccessFile } from "../access.ts";
import { type ApiKeys, createApiKeyVerifier, parseApiKeys } from "./api-keys.ts";
import { type Authenticate, createAuthenticate } from "./authenticate.ts";
import { createCertificateVerifier } from "./certificates.ts";
import type { DemoIdentity } from "./demo-identity.ts";
import { createIssuerKeys } from "./issuer-keys.ts";
import { createTokenVerifier, type Issuer } from "./tokens.ts";

/** Everything that callers are recognised by. */
export interface Identity {
  readonly authenticate: Authenticate;
  /** Fetches the keys of all issuers, so that the first call need not wait for them. Never rejects. */
  readonly warm: () => Promise<void>;
  /** Watches files no longer. */
  readonly stop: () => void;
}

/**
 * Sets up the sources of identity that the config names: issuers of tokens or the demo's, API keys, client certificates.
 *
 * @param access the access file, which says what roles certificates have
 * @param demo in place of the issuers, in demo mode
 */
export function createIdentity(
  config: Pick<Config, "issuers" | "files" | "tls">,
  access: () => AccessFile,
  demo: DemoIdentity | undefined,
  log: Logger,
): Identity {
  const issuers: readonly Issuer[] =
    demo === undefined
      ? config.issuers.map((issuer) => ({ ...issuer, keys: createIssuerKeys({ ...issuer, log }) }))
      : [demo.issuer];
  const keys = watchApiKeys(config.files.apiKeys, log);
  return {
    authenticate: createAuthenticate({
      token: createTokenVerifier(issuers),
      apiKey: keys && createApiKeyVerifier(keys.current),
      certificate:
        config.tls?.clientCa === undefined
          ? undefined
          : createCertificateVerifier(() => access().certificates),
    }),
    warm: async () => void (await Promise.all(issuers.map(({ keys }) => keys.warm()))),
    stop: () => keys?.stop(),
  };
}

function watchApiKeys(path: string | undefined, log: Logger): WatchedFile<ApiKeys> | undefined {
  if (path === undefined) return undefined;
  const parse = (text: string): ApiKeys => parseApiKeys(text, `API_KEYS_FILE (${path})`);
  return createWatchedFile({ path, name: "API_KEYS_FILE", log, parse });
}

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { createSecureContext } from "node:tls";
import * as z from "zod";
import type { Config, IssuerConfig } from "./config.ts";
import type { Variables } from "./config-variables.ts";
import { clientCaProblem } from "./edge/client-certificate.ts";
import { StartError } from "./errors.ts";
import { readJsonFile } from "./json-file.ts";
import { parseAccess } from "./policy/access.ts";
import { parseApiKeys } from "./policy/identity/api-keys.ts";
import { parseGatewayToken } from "./upstream/gateway-token.ts";

/** The variables that name files. */
type FileVariable = Extract<keyof Variables, `${string}_FILE`>;

/** What is read of the files that do not change while the gateway runs. */
export interface Files {
  readonly tls: Config["tls"];
  readonly issuers: readonly IssuerConfig[];
  readonly upstreamTls: Config["upstreamTls"];
}

/** Reads all files that variables name, also those that are read again later; what is wrong is added to the problems. */
export function readFiles(variables: Variables, problems: string[]): Files {
  const read = (name: FileVariable): string | undefined => readText(name, variables[name], problems);
  const parse = <T>(name: FileVariable, parser: (text: string, file: string) => T): T | undefined => {
    const text = read(name);
    try {
      return text === undefined ? undefined : parser(text, `${name} (${variables[name]})`);
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      problems.push(...error.problems);
      return undefined;
    }
  };
  parse("ACCESS_FILE", parseAccess);
  parse("API_KEYS_FILE", parseApiKeys);
  parse("GATEWAY_TOKEN_FILE", parseGatewayToken);
  const issuers = parse("AUTH_FILE", parseIssuers) ?? [];
  const upstreamTls = readUpstreamTls(read, problems);
  const [cert, key, clientCa] = [read("TLS_CERT_FILE"), read("TLS_KEY_FILE"), read("TLS_CLIENT_CA_FILE")];
  if (cert === undefined || key === undefined) return { issuers, upstreamTls, tls: undefined };
  problems.push(...tlsProblems(cert, key, clientCa));
  return { issuers, upstreamTls, tls: { cert, key, clientCa } };
}

function readUpstreamTls(
  read: (name: FileVariable) => string | undefined,
  problems: string[],
): Config["upstreamTls"] {
  const ca = read("UPSTREAMS_CA_FILE");
  const cert = read("UPSTREAMS_CERT_FILE");
  const key = read("UPSTREAMS_KEY_FILE");
  const found = {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
  try {
    createSecureContext(found);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    problems.push(
      `UPSTREAMS_CA_FILE, UPSTREAMS_CERT_FILE and UPSTREAMS_KEY_FILE cannot be used together: ${reason}`,
    );
  }
  return found;
}

function readText(name: FileVariable, path: string | undefined, problems: string[]): string | undefined {
  try {
    return path === undefined ? undefined : readFileSync(resolve(path), "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    problems.push(`${name} is "${path}", which cannot be read: ${reason}`);
    return undefined;
  }
}

const issuersSchema = z.strictObject({
  issuers: z
    .array(
      z.strictObject({
        issuer: z.url({ protocol: /^https?$/ }),
        audience: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]),
        jwksUrl: z.url({ protocol: /^https?$/ }).optional(),
        claims: z
          .strictObject({
            subject: z.string().default("sub"),
            roles: z.string().default("roles"),
            tenant: z.string().optional(),
          })
          .default({ subject: "sub", roles: "roles" }),
        roles: z.array(z.string().min(1)).optional(),
      }),
    )
    .min(1),
});

/** Reads the issuers of tokens. Throws a {@link StartError} that lists every problem. */
function parseIssuers(text: string, file: string): readonly IssuerConfig[] {
  const { issuers } = readJsonFile(issuersSchema, text, file);
  const names = issuers.map(({ issuer }) => issuer);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  if (twice.length > 0)
    throw new StartError(twice.map((name) => `${file}: the issuer ${name} is there twice`));
  return issuers.map(({ jwksUrl, roles, claims: { tenant, ...claims }, ...rest }) => ({
    ...rest,
    jwksUrl,
    ...(roles !== undefined && { roles }),
    claims: { ...claims, ...(tenant !== undefined && { tenant }) },
  }));
}

function tlsProblems(cert: string, key: string, clientCa: string | undefined): string[] {
  const problems: string[] = [];
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    problems.push(`TLS_CERT_FILE and TLS_KEY_FILE must be a certificate and its key in PEM: ${reason}`);
  }
  const problem = clientCa === undefined ? undefined : clientCaProblem(clientCa);
  return problem === undefined ? problems : [...problems, `TLS_CLIENT_CA_FILE ${problem}`];
}

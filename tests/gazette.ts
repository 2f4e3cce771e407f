import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { PublicError, type PublicService, service } from "@portico/gateway";
import { type Exchange, overH1 } from "./exchange.ts";
import { GazetteService, ReadIssueResponseSchema } from "./gen/acme/api/gazette/v1/gazette_service_pb.ts";
import { type System, type SystemOptions, startSystem } from "./system.ts";

/** A gateway whose answers may be kept in different ways. */
export interface Gazette extends AsyncDisposable {
  readonly system: System;
  /** How often a handler has run. */
  readonly runs: () => number;
  /** Lets all answers say something else from now on. */
  readonly publish: (edition: string) => void;
  /** Replaces the access file. */
  readonly giveRights: (roles: Readonly<Record<string, readonly string[]>>) => void;
  /** Asks as a browser does: by GET, with the request as JSON in the URL. */
  readonly get: (
    method: Page,
    request?: object,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<Exchange>;
}

type Page = "ReadIssue" | "ReadLetter" | "ReadReport" | "ReadNotice" | "ReadTicker";

/** What a test changes. */
export interface GazetteOptions extends SystemOptions {
  /** Makes another service of this one, with the same handlers. */
  readonly rebuild?: (service: PublicService) => PublicService;
}

/** Starts it. An issue named `broken` fails, one named `torn` lacks its text. */
export async function startGazette({
  env = {},
  rebuild = (it) => it,
  ...options
}: GazetteOptions = {}): Promise<Gazette> {
  const folder = mkdtempSync(join(tmpdir(), "portico-gazette-"));
  const accessFile = join(folder, "access.json");
  const giveRights = (roles: Readonly<Record<string, readonly string[]>>) =>
    writeFileSync(accessFile, JSON.stringify({ roles }));
  giveRights({ admin: ["*"], viewer: ["reports.read"], customer: [] });
  let edition = "first edition";
  let runs = 0;
  const write = (text: string) => {
    runs += 1;
    return { text: `${text}, ${edition}` };
  };
  const gazette = service(GazetteService, {
    readIssue: ({ name }, call) => {
      if (name === "broken") throw new PublicError("SERVICE_BUSY");
      const issue = create(ReadIssueResponseSchema, { ...write(name), prices: { EUR: 2n, USD: 3n } });
      if (name === "torn") call.missing.add(issue, "text", new PublicError("SERVICE_BUSY"));
      return issue;
    },
    readLetter: ({ name }, { principal }) => write(`${name} for ${principal.id}`),
    readReport: ({ name }, { principal }) => write(`${name} for ${principal.id}`),
    readNotice: ({ name }) => write(name),
    readTicker: () => write("ticker"),
  });
  const system = await startSystem({
    env: { ANSWER_CACHE_BYTES: String(2 ** 24), ACCESS_FILE: accessFile, ...env },
    services: [rebuild(gazette)],
    ...options,
  });
  return {
    system,
    runs: () => runs,
    publish: (next) => {
      edition = next;
    },
    giveRights,
    get: (method, request = {}, headers = {}) =>
      overH1(system.url, { method: "GET", path: pathOf(method, request), headers }),
    [Symbol.asyncDispose]: async () => {
      await system.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The path and the query of a GET. */
export function pathOf(method: Page, request: object, encoding = "json"): string {
  const query = new URLSearchParams({ encoding, message: JSON.stringify(request) });
  return `/${GazetteService.typeName}/${method}?${query}`;
}

import type { App } from "../../application.ts";
import { loadConfig } from "../../config.ts";
import { StartError } from "../../errors.ts";
import { readAccess } from "../../policy/access.ts";
import { meterProblems } from "../../policy/limits/meter.ts";
import { createMethodTable, type MethodTable, permissionsIn } from "../../policy/method-table.ts";
import { createValidate } from "../../policy/validation/validate.ts";
import { declaration } from "../../upstream/upstream.ts";
import type { ProgramIo } from "../command.ts";
import { load } from "../load.ts";
import { readAccessText } from "../matrix/matrix.ts";

/** What would keep a gateway from starting, and what was found out meanwhile. */
export interface Findings {
  readonly problems: readonly string[];
  /** Absent, if it could not be loaded. */
  readonly app: App | undefined;
  /** Absent, if there is something wrong with it. */
  readonly methods: MethodTable | undefined;
}

/**
 * Everything that a start would refuse, all at once: what cannot be loaded, policies, rules of validation, the access
 * file if there is one, and with `environment` all variables.
 */
export async function findProblems(io: ProgramIo, environment: boolean): Promise<Findings> {
  const problems: string[] = [];
  const app = await attempt(problems, () => load(io));
  if (app === undefined) return { problems, app, methods: undefined };
  const inputs = app.services.flatMap(({ desc }) => desc.methods.map(({ input }) => input));
  const methods = await attempt(problems, () => createMethodTable(app.services));
  await attempt(problems, () => createValidate(inputs));
  const path = io.env["ACCESS_FILE"];
  if (methods !== undefined && path)
    await attempt(problems, async () =>
      readAccess(await readAccessText(path), `ACCESS_FILE (${path})`, permissionsIn(methods)),
    );
  if (environment) {
    const names = app.upstreams.map((upstream) => upstream[declaration].name);
    const config = await attempt(problems, () => loadConfig(io.env, names));
    if (config !== undefined && methods !== undefined)
      problems.push(...meterProblems(methods.values(), config.rateLimits));
  }
  return { problems: [...new Set(problems)], app, methods };
}

/** Adds what is wrong to the problems, and gives nothing then. */
async function attempt<T>(problems: string[], make: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await make();
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

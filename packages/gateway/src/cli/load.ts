import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { App } from "../application.ts";
import { checkLate } from "../consolidation/views/late.ts";
import { StartError } from "../errors.ts";
import type { ProgramIo } from "./command.ts";

/**
 * Loads the API, for a command that needs it. Whatever its modules throw keeps a gateway from starting, and is said like
 * all else: throws a {@link StartError}.
 */
export async function load({ app, project }: Pick<ProgramIo, "app" | "project">): Promise<App> {
  try {
    const loaded = await app();
    checkLate([...loaded.views, ...loaded.requests]);
    return loaded;
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError([`The API cannot be loaded: ${describe(error, project.appFolder)}`]);
  }
}

/** The message, and the line of the API, or else of another file, at which it was thrown. */
function describe(error: unknown, appFolder: string): string {
  if (!(error instanceof Error)) return String(error);
  const places = (error.stack ?? "").match(/(?:file:\/\/)?\/[^\s()]+\.[cm]?[jt]s:\d+/g) ?? [];
  const paths = places.map((place) => (place.startsWith("file:") ? fileURLToPath(place) : place));
  const path = paths.find((path) => path.startsWith(appFolder)) ?? paths[0];
  return path === undefined ? error.message : `${error.message} (${relative("", path)})`;
}

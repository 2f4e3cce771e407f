import { createHash } from "node:crypto";
import type { Logger } from "pino";
import { createWatchedFile } from "../watched-file.ts";
import { type AccessFile, type NamedPermissions, readAccess } from "./access.ts";
import { createRightsOf, type RightsOf } from "./rights.ts";

/** The access file as it is now. */
export interface LiveAccess {
  readonly current: () => AccessFile;
  readonly rightsOf: RightsOf;
  /** Watches the file no longer. */
  readonly stop: () => void;
}

/**
 * Reads the access file, and reads it again whenever it changes. A file that is broken, or does not agree with the
 * protos, is refused as a whole: the one before stays in force, and the log says why.
 *
 * Throws a {@link StartError} for such a file at the start.
 *
 * @param named the permissions that the protos name
 */
export function createLiveAccess(path: string, named: NamedPermissions, log: Logger): LiveAccess {
  const file = createWatchedFile({
    path,
    name: "ACCESS_FILE",
    log,
    parse: (text) => compile(text, path, named),
  });
  return {
    current: () => file.current().access,
    rightsOf: (principal) => file.current().rightsOf(principal),
    stop: file.stop,
  };
}

function compile(text: string, path: string, named: NamedPermissions) {
  const access = readAccess(text, `ACCESS_FILE (${path})`, named);
  // The same content is the same version in every replica.
  const version = createHash("sha256").update(text).digest("base64url").slice(0, 16);
  return { access, rightsOf: createRightsOf(access, version) };
}

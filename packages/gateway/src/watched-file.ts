import { createHash } from "node:crypto";
import { type BigIntStats, createReadStream, readFileSync, statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { buffer } from "node:stream/consumers";
import type { Logger } from "pino";
import { StartError } from "./errors.ts";

export interface WatchedFileOptions<T> {
  readonly path: string;
  /** How messages name the file: that of the variable which has its path, such as `ACCESS_FILE`. */
  readonly name: string;
  /** Makes the value of a text, or throws; a {@link StartError} lists its problems. */
  readonly parse: (text: string) => T;
  readonly log: Pick<Logger, "info" | "error">;
  /** Milliseconds between two looks at the file; 1,000 by default. */
  readonly intervalMs?: number;
}

/** A value that follows a file. */
export interface WatchedFile<T> {
  /** The value of the last content that was good. */
  readonly current: () => T;
  /** Looks at the file now. Never rejects. */
  readonly refresh: () => Promise<void>;
  /** Ends the watch; the value stays. */
  readonly stop: () => void;
}

/**
 * Reads a file, and reads it again whenever it changes. A content that is broken, or a file that is gone, is refused:
 * the value stays as it was, and one line in the log says why, once two looks in a row found it, since an editor may
 * leave a file half written for a moment. At most 10 MiB of UTF-8.
 *
 * It looks every second rather than wait for the events of the file system: those are about the link that has the
 * path, while Kubernetes swaps a link further up. The watch does not keep the process alive.
 *
 * Throws a {@link StartError} if the file cannot be read at the start, and whatever `parse` throws.
 *
 * @example
 * const access = createWatchedFile({ path, name: "ACCESS_FILE", parse: (text) => parseAccess(text, path), log });
 * access.current().roles;
 */
export function createWatchedFile<T>(options: WatchedFileOptions<T>): WatchedFile<T> {
  const { name, log, intervalMs = 1_000 } = options;
  const path = resolve(options.path);
  const first = readFirst(path, options);
  let value = options.parse(first.text);
  /** What was found last, and how often in a row. */
  let found: Finding = { key: first.key, looks: 2 };
  /** Of the content that `value` was made of. */
  let goodKey = first.key;
  let seen: string | undefined = mayChangeUnseen(first.version) ? undefined : first.version;
  let looking: Promise<void> | undefined;

  async function look(): Promise<void> {
    try {
      const version = versionOf(await stat(path, { bigint: true }));
      // Looked at twice already, so whatever there was to say was said.
      if (version === seen && found.looks > 1) return;
      const content = await readBounded(path);
      seen = mayChangeUnseen(version) ? undefined : version;
      note(content);
    } catch (error) {
      seen = undefined;
      complain(`unreadable: ${messagesOf(error).join()}`, "cannot be read", error);
    }
  }

  function note({ key, text }: Content): void {
    if (key === goodKey) {
      if (found.key !== key && found.looks > 1) log.info({ file: path }, `${name} is as it was before`);
      found = { key, looks: 2 };
      return;
    }
    let next: T;
    try {
      next = options.parse(text);
    } catch (error) {
      complain(key, "is refused", error);
      return;
    }
    value = next;
    goodKey = key;
    found = { key, looks: 2 };
    log.info({ file: path }, `${name} reloaded`);
  }

  /** Says it at the second look, and never again for the same. */
  function complain(key: string, what: string, error: unknown): void {
    found = { key, looks: found.key === key ? found.looks + 1 : 1 };
    if (found.looks !== 2) return;
    log.error(
      { file: path, problems: messagesOf(error) },
      `${name} ${what}: what was read before stays in force`,
    );
  }

  /** One at a time: on a slow file system a look may take longer than the time between two. */
  function refresh(): Promise<void> {
    looking ??= look().finally(() => {
      looking = undefined;
    });
    return looking;
  }

  const timer = setInterval(() => void refresh(), intervalMs).unref();
  return {
    current: () => value,
    refresh,
    stop: () => clearInterval(timer),
  };
}

interface Content {
  readonly text: string;
  /** The same for the same content. */
  readonly key: string;
}

interface Finding {
  readonly key: string;
  readonly looks: number;
}

const maxBytes = 10 * 2 ** 20;
/** Some file systems note times in whole seconds: a change within the same one cannot be seen in them. */
const coarsestMs = 2_000;

/** At the start nobody waits but the program, so there is no need to do it in the background. */
function readFirst(
  path: string,
  { name }: { readonly name: string },
): Content & { readonly version: string } {
  try {
    const version = versionOf(statSync(path, { bigint: true }));
    return { ...decode(readFileSync(path)), version };
  } catch (error) {
    throw new StartError([`${name} is "${path}", which cannot be read: ${messagesOf(error).join("; ")}`]);
  }
}

/** Bounded in itself, since the file may grow after it was looked at. */
async function readBounded(path: string): Promise<Content> {
  return decode(await buffer(createReadStream(path, { end: maxBytes })));
}

function decode(bytes: Buffer): Content {
  if (bytes.length > maxBytes) throw new TypeError(tooLarge);
  // Strict, and without the mark that some editors put first.
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  return { text, key: createHash("sha256").update(bytes).digest("base64") };
}

const tooLarge = `it has more than ${maxBytes} bytes`;

/** What differs after every change, as far as the file system can tell. Throws for what is no file of fair size. */
function versionOf(stats: BigIntStats): string {
  if (!stats.isFile()) throw new TypeError("it is not a file");
  if (stats.size > maxBytes) throw new TypeError(tooLarge);
  return [stats.mtimeNs, stats.ctimeNs, stats.size, stats.ino, stats.dev].join();
}

function mayChangeUnseen(version: string): boolean {
  return Math.abs(Date.now() - Number(version.split(",", 1)[0]) / 1e6) < coarsestMs;
}

function messagesOf(error: unknown): readonly string[] {
  if (error instanceof StartError) return error.problems;
  return [error instanceof Error ? error.message : String(error)];
}

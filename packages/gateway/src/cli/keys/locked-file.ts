import { randomBytes } from "node:crypto";
import { type FileHandle, open, readFile, realpath, rename, stat, unlink } from "node:fs/promises";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/**
 * Changes a file that several commands may change at once: one after the other, each with what the one before it left.
 *
 * Who reads the file meanwhile sees it as it was or as it is, never a part: the new content is written beside it, with
 * mode 0600 and the same owner, and takes its name. What has the path may be a symbolic link, and stays one. If
 * anything fails, `change` included, the file is untouched.
 *
 * The lock is a file too, named as the one that it guards, with `.lock`. It binds those who use this function, and
 * nobody else: an editor that is open meanwhile can overwrite what a command added. On a network file system it is as
 * good as that system's exclusive creation of files.
 *
 * @param change gives the new content for the present one, which is `undefined` if there is no file yet
 * @param now milliseconds since 1970
 * @example await changeFile(path, (text = "") => `${text}one more line\n`, Date.now);
 */
export async function changeFile(
  path: string,
  change: (text: string | undefined) => string,
  now: () => number,
): Promise<void> {
  const target = (await unlessMissing(realpath(path))) ?? resolve(path);
  const unlock = await lock(`${target}.lock`, now);
  try {
    await replace(target, change(await unlessMissing(readFile(target, "utf8"))));
  } finally {
    await unlock();
  }
}

/** The result, or `undefined` if there is no such file. */
export async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Milliseconds to wait for others, who need a few each. */
const patienceMs = 5_000;

async function lock(path: string, now: () => number): Promise<() => Promise<void>> {
  const end = now() + patienceMs;
  for (;;) {
    try {
      await (await open(path, "wx", 0o600)).close();
      return () => unlink(path);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      // Never taken away by force: who holds it may only be slow, and two would then write at once.
      if (now() > end)
        throw new Error(`${path} is there: another command is at work. If there is none, delete that file.`);
    }
    await delay(20 + Math.random() * 50);
  }
}

async function replace(target: string, content: string): Promise<void> {
  const temporary = `${target}.${randomBytes(6).toString("hex")}.tmp`;
  const file = await open(temporary, "wx", 0o600);
  try {
    try {
      await file.writeFile(content);
      await keepOwner(file, target);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await unlink(temporary);
    throw error;
  }
}

/** The gateway may run under another account than who changes its files, and has to go on reading them. */
async function keepOwner(file: FileHandle, target: string): Promise<void> {
  const [before, after] = [await unlessMissing(stat(target)), await file.stat()];
  if (before === undefined || (before.uid === after.uid && before.gid === after.gid)) return;
  try {
    await file.chown(before.uid, before.gid);
  } catch (cause) {
    throw new Error(
      `${target} belongs to the account ${before.uid}, group ${before.gid}: run the command as that account`,
      { cause },
    );
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

import { startChild } from "./child.ts";
import type { LoadOptions, LoadResult } from "./load.ts";

/** A load that runs in a process of its own. */
export interface LoadProcess extends AsyncDisposable {
  readonly stop: () => Promise<LoadResult>;
  /** Resolves when it has ended by itself. */
  readonly done: Promise<LoadResult>;
  /** How many calls have ended so far. */
  readonly count: () => Promise<number>;
}

/** The field that the messages between the two processes are told by. */
export const loadMessage = "portico-load";

/** What the parent tells the process. */
export interface LoadRequest {
  readonly [loadMessage]: true;
  readonly ask: "start" | "stop" | "count";
  readonly options?: LoadOptions;
}

/**
 * Starts a load in a process of its own, so that what it measures is not this process's. Resolves when it makes calls.
 *
 * @example
 * await using load = await startLoadProcess({ url, requests, pace: { perSecond: 500 } });
 * const { p99 } = summarize(await load.stop());
 */
export async function startLoadProcess(options: LoadOptions): Promise<LoadProcess> {
  const child = startChild(new URL("load-main.ts", import.meta.url));
  await child.told(is("ready"));
  const done = child.told(is("done")).then(({ result }) => result);
  // Who is never asked for its result may be ended early.
  done.catch(() => {});
  const tell = (ask: LoadRequest["ask"]) => ({ [loadMessage]: true, ask, options }) satisfies LoadRequest;
  child.process.send(tell("start"));
  return {
    done,
    stop: () => {
      if (child.process.connected) child.process.send(tell("stop"));
      return done;
    },
    count: async () => (await child.ask(tell("count"), is("count"))).count,
    [Symbol.asyncDispose]: async () => {
      await child.kill();
      if (child.stderr() !== "") throw new Error(`the load failed:\n${child.stderr()}`);
    },
  };
}

export function isLoadMessage(message: unknown): message is LoadRequest {
  return typeof message === "object" && message !== null && loadMessage in message && "ask" in message;
}

interface Told {
  readonly result: LoadResult;
  readonly count: number;
}

function is(what: "ready" | "done" | "count") {
  return (message: unknown): message is Told =>
    typeof message === "object" &&
    message !== null &&
    loadMessage in message &&
    message[loadMessage] === what;
}

import { beforeAbort } from "../../deadline.ts";

/** How the messages of a stream are put together. */
export interface EachOptions {
  /** The most messages of a batch. Default: 100. */
  readonly maxSize?: number;
  /** How long the first message of a batch waits for others, in milliseconds. Default: 5. */
  readonly maxWaitMs?: number;
}

/**
 * Puts what comes quickly together into batches. A batch begins with a message that is there, and ends when it is full,
 * when its time is over, or with the stream.
 *
 * One message at the most is asked for ahead of the reader. When the reader leaves, or the signal aborts, the source is
 * told at once, even while it has nothing to give. If the source fails, what came before is given first.
 */
export async function* batches<T>(
  source: AsyncIterable<T>,
  signal: AbortSignal,
  { maxSize = 100, maxWaitMs = 5 }: EachOptions = {},
): AsyncGenerator<readonly T[], void, undefined> {
  const iterator = source[Symbol.asyncIterator]();
  let next = ask(iterator);
  try {
    for (;;) {
      const first = await beforeAbort(signal, next);
      if (first.done === true) return;
      const { batch, end, pending } = await gather(first.value, iterator, maxSize, maxWaitMs);
      yield batch;
      if (end !== undefined) {
        if ("error" in end) throw end.error;
        return;
      }
      next = pending ?? ask(iterator);
    }
  } finally {
    // Not awaited: a source that waits for something else would keep the reader from leaving.
    next.catch(() => {});
    leave(iterator).catch(() => {});
  }
}

/** A source that was written by hand may throw where others reject. */
async function ask<T>(iterator: AsyncIterator<T>): Promise<IteratorResult<T>> {
  return iterator.next();
}

async function leave<T>(iterator: AsyncIterator<T>): Promise<void> {
  await iterator.return?.();
}

interface Gathered<T> {
  readonly batch: readonly T[];
  /** How the source ended, if it did. */
  readonly end: { readonly done: true } | { readonly error: unknown } | undefined;
  /** What the source was asked for and has not given. */
  readonly pending: Promise<IteratorResult<T>> | undefined;
}

async function gather<T>(
  first: T,
  iterator: AsyncIterator<T>,
  maxSize: number,
  maxWaitMs: number,
): Promise<Gathered<T>> {
  const batch = [first];
  const time = startTimer(maxWaitMs);
  try {
    while (batch.length < maxSize) {
      const pending = ask(iterator);
      pending.catch(() => {}); // Told below, or by whoever waits for it next.
      const outcome = await Promise.race([pending.then(settled, failed), time.over]);
      if (outcome === undefined) return { batch, end: undefined, pending };
      if ("error" in outcome) return { batch, end: outcome, pending: undefined };
      if (outcome.result.done === true) return { batch, end: { done: true }, pending: undefined };
      batch.push(outcome.result.value);
    }
    return { batch, end: undefined, pending: undefined };
  } finally {
    time.stop();
  }
}

function settled<T>(result: IteratorResult<T>): { readonly result: IteratorResult<T> } {
  return { result };
}

function failed(error: unknown): { readonly error: unknown } {
  return { error };
}

function startTimer(milliseconds: number): { readonly over: Promise<undefined>; readonly stop: () => void } {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, milliseconds, undefined);
  return { over: promise, stop: () => clearTimeout(timer) };
}

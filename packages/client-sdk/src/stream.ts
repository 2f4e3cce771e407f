/**
 * Makes an iterable that starts anew each time it is iterated, and whose source learns at once that the consumer
 * left. The source gets a signal that aborts when the consumer leaves, or with `signal`.
 *
 * A bare async generator does not do: leaving it waits for a `next()` that is under way, so a quiet stream would
 * stay open until the server sends something. Connect's own iterables do not stop the call at all.
 */
export function stoppable<T>(
  signal: AbortSignal | undefined,
  source: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => iterate(signal, source) };
}

function iterate<T>(
  signal: AbortSignal | undefined,
  source: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
): AsyncIterator<T, void, undefined> {
  const controller = new AbortController();
  let left = false;
  async function* values() {
    const abort = () => controller.abort(signal?.reason);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    try {
      yield* source(controller.signal);
    } catch (error) {
      if (!left) throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }
  const iterator = values();
  return {
    next: () => iterator.next(),
    return: () => {
      left = true;
      controller.abort();
      return iterator.return();
    },
  };
}

import { beforeAbort, startDeadline } from "../../deadline.ts";
import { internalError, PublicError } from "../../errors.ts";

/** A fetch that is under way, with all who wait for it. */
export interface Flight<T> {
  /**
   * Waits for what it brings, or for the error that it fails with. Rejects only with the reason of the signal, as soon as
   * that aborts. The last who leaves ends the fetch.
   */
  readonly join: (signal: AbortSignal) => Promise<T | PublicError>;
}

/** How a flight goes. */
export interface FlightPlan<T> {
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly fetch: (signal: AbortSignal, remainingMs: () => number) => Promise<T>;
  /** It is through, or given up: nobody may join any more. */
  readonly onEnd: () => void;
}

/** Starts a fetch that belongs to none of those who wait for it: it ends when it is through, or when all have left. */
export function startFlight<T>({ timeoutMs, fetch, onEnd }: FlightPlan<T>): Flight<T> {
  const end = new AbortController();
  const { signal, remainingMs } = startDeadline(timeoutMs, end.signal);
  let waiting = 0;
  const close = (reason?: unknown): void => {
    if (end.signal.aborted) return;
    end.abort(reason);
    onEnd();
  };
  const fly = async (): Promise<T | PublicError> => {
    try {
      return await beforeAbort(signal, fetch(signal, remainingMs));
    } catch (error) {
      return toOutcome(error);
    } finally {
      close();
    }
  };
  const outcome = Promise.resolve().then(fly);
  return {
    join: async (caller) => {
      waiting += 1;
      try {
        return await beforeAbort(caller, outcome);
      } finally {
        waiting -= 1;
        if (waiting === 0) close(new PublicError("CALLER_LEFT"));
      }
    },
  };
}

/** The time that is over is that of the fetch, not that of the calls which wait for it. */
function toOutcome(error: unknown): PublicError {
  if (!(error instanceof PublicError)) return internalError(error);
  return error.reason === "DEADLINE_EXCEEDED"
    ? new PublicError("SERVICE_TIMEOUT", undefined, { cause: error })
    : error;
}

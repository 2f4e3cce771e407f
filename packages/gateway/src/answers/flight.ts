import { toBinary } from "@bufbuild/protobuf";
import { beforeAbort, startDeadline } from "../deadline.ts";
import { PublicError } from "../errors.ts";
import type { Wanted } from "./answer-cache.ts";

/** A run that is under way, with all who wait for it. */
export interface Flight {
  /** Until when others may join, by the clock of the cache. */
  readonly joinableUntil: number;
  /** Waits for the answer until the signal aborts. The last who leaves ends the run. */
  readonly join: (signal: AbortSignal) => Promise<Uint8Array>;
}

/** What the cache wants to know of a run. */
export interface FlightEvents {
  readonly joinableUntil: number;
  readonly onAnswer: (bytes: Uint8Array) => void;
  /** The run is over, or given up: nobody may join any more. */
  readonly onEnd: () => void;
}

/** Starts a run that belongs to none of those who wait for it: it ends when it is through, or when all have left. */
export function startFlight(
  { output, timeoutMs, run }: Wanted,
  { joinableUntil, onAnswer, onEnd }: FlightEvents,
): Flight {
  const end = new AbortController();
  // Callers may join for as long as one of them may wait. With twice that, none of them sees the run's time end.
  const { signal, remainingMs } = startDeadline(2 * timeoutMs, end.signal);
  let waiting = 0;
  function close(reason?: unknown): void {
    onEnd();
    end.abort(reason);
  }
  async function fly(): Promise<Uint8Array> {
    try {
      const message = await beforeAbort(
        signal,
        Promise.resolve().then(() => run(signal, remainingMs)),
      );
      const bytes = toBinary(output, message, { writeUnknownFields: false });
      onAnswer(bytes);
      return bytes;
    } finally {
      close();
    }
  }
  const bytes = fly();
  bytes.catch(() => {}); // All who waited may have left.
  return {
    joinableUntil,
    join: async (caller) => {
      waiting += 1;
      try {
        return await beforeAbort(caller, bytes);
      } catch (error) {
        throw caller.aborted && error === caller.reason ? error : ownCopy(error);
      } finally {
        waiting -= 1;
        if (waiting === 0 && !end.signal.aborted) close(new PublicError("CALLER_LEFT"));
      }
    },
  };
}

/** Details are written into an error for the call that it ends, so no two calls may get the same one. */
function ownCopy(error: unknown): unknown {
  if (!(error instanceof PublicError)) return error;
  return new PublicError(error.reason, error.rawMessage, { ...error.options, cause: error });
}

import { toBinary } from "@bufbuild/protobuf";
import { beforeAbort, startDeadline } from "../deadline.ts";
import { copyOf, PublicError } from "../errors.ts";
import type { Kept } from "../kept-bytes.ts";
import type { Answered, Wanted } from "./answer-cache.ts";

/** A run that is under way, with all who wait for it. */
export interface Flight {
  /** Until when others may join, by the clock of the cache. */
  readonly joinableUntil: number;
  /** Waits for the answer until the signal aborts. The last who leaves ends the run. */
  readonly join: (signal: AbortSignal) => Promise<Landed>;
}

/** What a flight ended with: an answer of its own run, or one that another replica had kept. */
export interface Landed extends Kept {
  readonly from: "run" | "shared";
  readonly partial: Answered["partial"];
}

/** What the cache gives a flight, and wants to know of it. */
export interface FlightEvents {
  readonly joinableUntil: number;
  /** Finds an answer that makes the run needless. */
  readonly find: () => Promise<Kept | undefined>;
  /** Says how long an answer of the run may be given. */
  readonly date: (bytes: Uint8Array) => Kept;
  /** The run brought a whole answer. */
  readonly onAnswer: (answer: Kept) => void;
  /** The run is over, or given up: nobody may join any more. */
  readonly onEnd: () => void;
}

/** Starts a run that belongs to none of those who wait for it: it ends when it is through, or when all have left. */
export function startFlight(
  { output, timeoutMs, run }: Wanted,
  { joinableUntil, find, date, onAnswer, onEnd }: FlightEvents,
): Flight {
  const end = new AbortController();
  // Callers may join for as long as one of them may wait. With twice that, none of them sees the run's time end.
  const { signal, remainingMs } = startDeadline(2 * timeoutMs, end.signal);
  let waiting = 0;
  function close(reason?: unknown): void {
    onEnd();
    end.abort(reason);
  }
  async function fly(): Promise<Landed> {
    try {
      const found = await beforeAbort(signal, find());
      if (found !== undefined) return { ...found, from: "shared", partial: undefined };
      const { message, partial } = await beforeAbort(signal, run(signal, remainingMs));
      const answer = date(toBinary(output, message, { writeUnknownFields: false }));
      // What is missing now may be there a moment later.
      if (partial === undefined) onAnswer(answer);
      return { ...answer, from: "run", partial };
    } finally {
      close();
    }
  }
  const landed = fly();
  landed.catch(() => {}); // All who waited may have left.
  return {
    joinableUntil,
    join: async (caller) => {
      waiting += 1;
      try {
        return await beforeAbort(caller, landed);
      } catch (error) {
        if (caller.aborted && error === caller.reason) throw error;
        throw error instanceof PublicError ? copyOf(error) : error;
      } finally {
        waiting -= 1;
        if (waiting === 0 && !end.signal.aborted) close(new PublicError("CALLER_LEFT"));
      }
    },
  };
}

import { isWorthRepeating } from "../session/session.ts";
import { type Attempt, type CallPlan, type CallProgress, timeIsOver } from "./attempts.ts";
import type { Verdict } from "./breaker.ts";
import { verdictOn } from "./verdict.ts";

/** What a stream is made of: that of a call, but for the clock. Streams are not made again. */
export type StreamPlan<T> = Pick<CallPlan<unknown>, "policy" | "gate" | "signal" | "callLeftMs"> & {
  readonly open: (attempt: Attempt) => Promise<AsyncIterable<T>>;
};

/** Opens a stream, and once more if the upstream surely did nothing for it. */
export async function* openStream<T>(
  { policy, gate, signal, callLeftMs, open }: StreamPlan<T>,
  progress: CallProgress,
): AsyncGenerator<T> {
  for (;;) {
    const timeoutMs = Math.min(
      Math.ceil(policy.timeoutMs ?? Number.POSITIVE_INFINITY),
      Math.floor(callLeftMs()),
    );
    if (timeoutMs <= 0) throw timeIsOver();
    // Until something has come. The reader may stop at any time.
    let verdict: Verdict = "unknown";
    const leave = leaveOnce(gate.enter("stream"));
    // A reader that is dropped, and not told to stop, gives its place back when the call ends.
    const leaveWithCall = () => leave(verdict);
    signal.addEventListener("abort", leaveWithCall);
    try {
      for await (const message of await open({ signal, timeoutMs, previous: progress.attempts++ })) {
        verdict = "answers";
        yield message;
      }
      verdict = "answers";
      return;
    } catch (error) {
      const isRepeatable = isWorthRepeating(error) && verdict === "unknown" && progress.attempts === 1;
      verdict = verdictOn(error, signal, false);
      if (!isRepeatable || signal.aborted) throw error;
    } finally {
      signal.removeEventListener("abort", leaveWithCall);
      leave(verdict);
    }
  }
}

function leaveOnce(leave: (verdict: Verdict) => void): (verdict: Verdict) => void {
  let isIn = true;
  return (verdict) => {
    if (isIn) leave(verdict);
    isIn = false;
  };
}

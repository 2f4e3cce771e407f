import type { BreakerOptions } from "./options.ts";

/** What a call that has ended says about its upstream: nothing, if somebody else ended it, or it never got there. */
export type Verdict = "answers" | "fails" | "unknown";

/** Keeps calls from an upstream that fails. */
export interface Breaker {
  /**
   * Asks for a call to be let through.
   *
   * @returns a function to be called once, with what the call said; or, if it is not let through, the milliseconds until
   * it is worth asking again
   */
  enter(): ((verdict: Verdict) => void) | number;
  /** `half-open`: one call at a time is let through, to see how the upstream is. */
  state(): "closed" | "open" | "half-open";
  /** How often it has opened since the start. */
  opened(): number;
}

/** How finely the window moves. */
const slotCount = 10;

/** The calls of a tenth of the window. */
interface Slot {
  /** Which tenth it is, counted from the beginning of the clock. */
  number: number;
  calls: number;
  failures: number;
}

/**
 * Creates a breaker that is closed.
 *
 * Not a library's: that of cockatiel counts a call that the caller ended as a success, which would close it; lets calls
 * wait for the one that tries, where they must fail at once; and goes by the clock on the wall.
 *
 * @param now milliseconds that only go up
 */
export function createBreaker(
  { failureRatio, minCalls, windowMs, openMs }: Required<BreakerOptions>,
  now: () => number,
): Breaker {
  const slots: Slot[] = Array.from({ length: slotCount }, () => ({ number: -1, calls: 0, failures: 0 }));
  let openUntil: number | undefined;
  let trialUntil = 0;
  let opened = 0;

  function note(failed: boolean): void {
    const number = Math.floor((now() / windowMs) * slotCount);
    const slot = slots[number % slotCount];
    if (slot === undefined) return;
    if (slot.number !== number) Object.assign(slot, { number, calls: 0, failures: 0 });
    slot.calls += 1;
    slot.failures += failed ? 1 : 0;
    if (failed && isBad(number)) open();
  }

  function isBad(number: number): boolean {
    const recent = slots.filter((slot) => slot.number > number - slotCount);
    const calls = recent.reduce((sum, slot) => sum + slot.calls, 0);
    const failures = recent.reduce((sum, slot) => sum + slot.failures, 0);
    return calls >= minCalls && failures >= calls * failureRatio;
  }

  function open(): void {
    openUntil = now() + openMs;
    opened += 1;
  }

  function close(): void {
    openUntil = undefined;
    for (const slot of slots) slot.number = -1;
  }

  /** What comes late, from calls that began before it opened, says nothing about now. */
  const leaveClosed = (since: number) => (verdict: Verdict) => {
    if (verdict !== "unknown" && openUntil === undefined && since === opened) note(verdict === "fails");
  };

  const leaveTrial = (since: number) => (verdict: Verdict) => {
    if (openUntil === undefined || since !== opened) return;
    if (verdict === "answers") close();
    if (verdict === "fails") open();
    if (verdict === "unknown") trialUntil = 0;
  };

  return {
    enter() {
      if (openUntil === undefined) return leaveClosed(opened);
      // One that waits for an answer for long, such as a stream, does not keep others from trying.
      const waitMs = Math.max(openUntil, trialUntil) - now();
      if (waitMs > 0) return waitMs;
      trialUntil = now() + openMs;
      return leaveTrial(opened);
    },
    state() {
      if (openUntil === undefined) return "closed";
      return openUntil > now() ? "open" : "half-open";
    },
    opened: () => opened,
  };
}

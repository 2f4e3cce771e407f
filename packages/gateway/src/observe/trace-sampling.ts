/** Decides whether the trace of a request is recorded. `asked`: its caller records its own part. */
export type Sample = (asked: boolean) => boolean;

/** How many traces a second may be recorded since callers asked for them. */
const askedPerSecond = 10;

/**
 * Records a part of all traces, by chance and not by the id of the trace, which a stranger chooses. Callers who record
 * their own part get ours as well, up to ten traces a second: enough to follow a call through a company's own front ends,
 * and too little for a stranger to have everything recorded. Nobody can ask not to be recorded.
 *
 * @param ratio from 0 for none to 1 for all
 * @param now a clock that does not jump, in milliseconds
 * @param random from 0 to less than 1
 */
export function createSample(
  ratio: number,
  now: () => number = () => performance.now(),
  random: () => number = Math.random,
): Sample {
  let left = askedPerSecond;
  let filledAt = now();
  const take = (): boolean => {
    const at = now();
    left = Math.min(askedPerSecond, left + ((at - filledAt) / 1_000) * askedPerSecond);
    filledAt = at;
    if (left < 1) return false;
    left -= 1;
    return true;
  };
  return (asked) => random() < ratio || (asked && ratio > 0 && take());
}

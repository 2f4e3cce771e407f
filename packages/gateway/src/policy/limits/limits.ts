import type { Limit } from "../principal.ts";

/**
 * Reads rate limits as people write them: so many calls in so much time, joined by commas. `off` means none.
 *
 * The units of time are `s`, `m`, `h` and `d`. At most four limits, each with a time of its own, which is no longer
 * than 31 days; from 1 to 1,000,000,000 calls.
 *
 * Throws a `TypeError` that says what was given and what would do.
 *
 * @example parseLimits("50/1s, 10000/1d"); // [{ calls: 50, windowSeconds: 1 }, { calls: 10000, windowSeconds: 86400 }]
 */
export function parseLimits(text: string): readonly Limit[] {
  if (text.trim() === "off") return [];
  const limits = text.split(",").map((part) => parseLimit(part.trim()));
  if (limits.length > maxLimits)
    throw new TypeError(
      `must be at most ${maxLimits} limits, not the ${limits.length} of ${quote(text)}: leave some out`,
    );
  for (const [index, { windowSeconds }] of limits.entries())
    if (limits.findIndex((limit) => limit.windowSeconds === windowSeconds) < index)
      throw new TypeError(
        `must have one limit for each time, not two for ${formatWindow(windowSeconds)} as ${quote(text)}: keep the lower one`,
      );
  return limits;
}

/** Writes one limit, such as `600/1m`. */
export function formatLimit({ calls, windowSeconds }: Limit): string {
  return `${calls}/${formatWindow(windowSeconds)}`;
}

const maxLimits = 4;
const maxCalls = 1_000_000_000;
const unitSeconds = { d: 86_400, h: 3_600, m: 60, s: 1 } as const;
const maxWindowSeconds = 31 * unitSeconds.d;

function parseLimit(text: string): Limit {
  const [, callsText, count, unit] = /^(\d{1,10})\/(\d{1,7})([smhd])$/.exec(text) ?? [];
  if (callsText === undefined || count === undefined || unit === undefined)
    throw new TypeError(
      `must be calls in a time (s, m, h or d), such as "600/1m" or "50/1s, 10000/1d", or "off"; not ${quote(text)}`,
    );
  const calls = Number(callsText);
  if (calls < 1 || calls > maxCalls)
    throw new TypeError(`must allow from 1 to ${maxCalls} calls, not the ${callsText} of ${quote(text)}`);
  const windowSeconds = Number(count) * unitSeconds[unit as keyof typeof unitSeconds];
  if (windowSeconds < 1 || windowSeconds > maxWindowSeconds)
    throw new TypeError(
      `must be for a time from 1s to ${formatWindow(maxWindowSeconds)}, not the ${count}${unit} of ${quote(text)}`,
    );
  return { calls, windowSeconds };
}

function formatWindow(seconds: number): string {
  const [unit, size] = Object.entries(unitSeconds).find(([, size]) => seconds % size === 0) ?? ["s", 1];
  return `${seconds / size}${unit}`;
}

/** What was given may be a whole file by mistake. */
function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

/**
 * How much the programme does: 1 is what runs on every change. `RELIABILITY_SCALE` multiplies counts and times; a part
 * such as 0.1 is for trying a test out.
 */
export const scale = readScale(process.env["RELIABILITY_SCALE"]);

/** A count, or a time in milliseconds, at the scale of this run: whole, and no less than `least`. */
export function scaled(value: number, least = 1): number {
  return Math.max(least, Math.round(value * scale));
}

function readScale(text: string | undefined): number {
  const given = Number(text || "1");
  if (given > 0 && Number.isFinite(given)) return given;
  throw new RangeError(`RELIABILITY_SCALE is "${text}": it must be a number above 0, such as 1`);
}

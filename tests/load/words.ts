/** A time for people. */
export function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** A part for people. */
export function percent(part: number): string {
  return `${(part * 100).toFixed(part > 0.99 && part < 1 ? 2 : 0)} %`;
}

/** What part of a whole something is; all of nothing. */
export function part(of: number, whole: number): number {
  return whole === 0 ? 1 : of / whole;
}

/** How calls ended, for people. */
export function codesInWords({ codes }: { readonly codes: Readonly<Record<string, number>> }): string {
  return Object.entries(codes)
    .map(([code, times]) => `${times} ${code}`)
    .join(", ");
}

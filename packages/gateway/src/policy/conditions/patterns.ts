import { RE2JS } from "@bufbuild/re2";

/**
 * Regular expressions for conditions: RE2, whose time is linear in the text. Each pattern is compiled once, as CEL would
 * compile it anew for each call; a condition's patterns are written out in it, so there are few.
 */
export function createPatterns(): { compile: (pattern: string) => { test: (text: string) => boolean } } {
  const compiled = new Map<string, RE2JS>();
  return {
    compile: (pattern) => {
      const known = compiled.get(pattern) ?? new RE2JS(pattern);
      compiled.set(pattern, known);
      return known;
    },
  };
}

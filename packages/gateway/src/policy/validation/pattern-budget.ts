import type { DescMessage } from "@bufbuild/protobuf";
import { RE2JS } from "@bufbuild/re2";
import { LRUCache } from "lru-cache";
import type { FieldRules } from "../../gen/buf/validate/validate_pb.ts";
import { messagesIn, rulesOf } from "./ruled.ts";

/**
 * The patterns of rules of validation: RE2, whose time is linear in the text, but up to 0.8 microseconds for each
 * character. So there are only so many for all patterns of a request together.
 */
export interface PatternBudget {
  /** Matches, as protovalidate asks for it. Throws if no more may be matched. */
  readonly matches: (pattern: string, text: string) => boolean;
  /** Begins another request, which may match so many characters. */
  readonly start: (most: number) => void;
  /** Whether the request had more than that. */
  readonly isSpent: () => boolean;
}

export function createPatternBudget(): PatternBudget {
  // Rules can make patterns out of what a caller sends.
  const compiled = new LRUCache<string, RE2JS>({ max: 1_000 });
  let left = Infinity;
  return {
    matches: (pattern, text) => {
      left -= text.length;
      if (left < 0) throw new Error("there is too much text to be matched with patterns");
      const known = compiled.get(pattern) ?? RE2JS.compile(pattern);
      compiled.set(pattern, known);
      return known.test(text);
    },
    start: (most) => {
      left = most;
    },
    isSpent: () => left < 0,
  };
}

/**
 * How many characters of a request are matched with patterns: 100,000, or as many as the limits of one field allow if
 * that is more.
 */
export function mostMatched(desc: DescMessage): number {
  const fields = messagesIn(desc).flatMap((message) => message.fields);
  return Math.max(100_000, ...fields.map((field) => matchedIn(rulesOf(field))));
}

/** How many characters the limits of a field let its patterns match; 0 if it has no limit. */
function matchedIn(rules: FieldRules | undefined): number {
  const type = rules?.type;
  switch (type?.case) {
    case "string": {
      const { pattern, len, maxLen, lenBytes, maxBytes } = type.value;
      const isMatched = pattern !== "" || (rules?.cel.length ?? 0) + (rules?.celExpression.length ?? 0) > 0;
      // A character can be two code units.
      return isMatched ? 2 * Number(len || maxLen || lenBytes || maxBytes) : 0;
    }
    case "repeated":
      return Number(type.value.maxItems) * matchedIn(type.value.items);
    case "map":
      return Number(type.value.maxPairs) * (matchedIn(type.value.keys) + matchedIn(type.value.values));
    default:
      return 0;
  }
}

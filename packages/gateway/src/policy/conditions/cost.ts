import type { Type } from "./types.ts";

// What a condition may cost. A stranger decides how long a request is; conditions are run for every call, and nothing
// else runs meanwhile. So what a loop, a pattern or a search goes through has an end that the proto sets, and so has what
// the rounds of a loop do together.

/**
 * The most items that a loop may go through. A round takes up to 20 microseconds (in the worst case: a comparison with
 * what the caller does not have), so that a loop stays within 10 ms.
 */
const maxRounds = 500;

/**
 * The most characters that a pattern is matched with, that are searched, or that are read as a number or a time, in all
 * rounds of a loop together. A pattern takes up to 0.8 microseconds for each.
 */
const maxMatched = 10_000;

/** The most characters that are searched for. Each may be compared with each that is searched: 3 to 7 ms in the end. */
const maxSought = 1_000;

/** The most characters or items that a loop may put together: the next loop could double them, and so on. */
const maxJoined = 100_000;

/** Intl is set up anew for each look into a time zone: 0.2 ms, in which so many characters can be matched. */
const zoneCost = 200;

/** How often a loop goes round at the most. What is longer is a problem by itself. */
export function roundsOf({ most = 0 }: Type): number {
  return Math.min(Math.max(most, 1), maxRounds);
}

/** What is wrong with a loop: `all`, `exists`, `exists_one`, `map`, `filter`. */
export function loopProblems(range: Type, inLoop: boolean): string[] {
  if (inLoop) return ["is a loop in a loop, which takes too long for a long request"];
  const { most = 0 } = range;
  if (most <= maxRounds) return [];
  const rule = range.name === "map" ? "map.max_pairs" : "repeated.max_items";
  return [
    `goes through ${amount(most)} items, ${tooLong}: give the field the rule (buf.validate.field).${rule} = ${maxRounds}, or less`,
  ];
}

/**
 * What is wrong with a call of a function, or an operator.
 *
 * @param rounds how often it is made at the most, in a loop; 0 outside of one
 */
export function callProblems(
  name: string,
  target: Type | undefined,
  args: readonly Type[],
  rounds: number,
): string[] {
  const operands = target === undefined ? args : [target, ...args];
  if (rounds > 0 && operands.some((operand, index) => isRepeated(name, operand, index)))
    return [`does the same work in each round of a loop, ${tooLong}: move it out of the loop`];
  const [first] = args;
  if (name === "matches") return textProblems(target, rounds);
  if (name === "contains") return searchProblems(target, first, rounds);
  if (name === "_+_" && rounds > 0) return joinProblems(operands, rounds);
  if (conversions.includes(name)) return textProblems(first, rounds);
  if (name.startsWith("get") && first !== undefined)
    return [...textProblems(first, rounds), ...zoneProblems(rounds)];
  return [];
}

/** They read a text. Large numbers take quadratic time; what cannot be read is repeated in the error. */
const conversions = ["int", "uint", "double", "bool", "timestamp", "duration"];

function textProblems(text: Type | undefined, rounds: number): string[] {
  const { most = 0 } = text ?? {};
  const allowed = Math.floor(maxMatched / Math.max(rounds, 1));
  if (most <= allowed) return [];
  const [times, items] =
    rounds > 1
      ? [` in each of ${rounds} rounds`, ", or repeated.items.string.max_len for the items of a list"]
      : ["", ""];
  return [
    `goes through ${amount(most)} characters${times}, ${tooLong}: give the field the rule (buf.validate.field).string.max_len = ${allowed}, or less${items}`,
  ];
}

/** Where the text nearly is what is sought, again and again, each character is compared with each. */
function searchProblems(text: Type | undefined, sought: Type | undefined, rounds: number): string[] {
  // A text that no caller can make longer has none that is longer in it, which ends the search at once.
  if (text?.most === undefined) return [];
  const problems = textProblems(text, rounds);
  const { most = 0 } = sought ?? {};
  if (problems.length > 0 || most <= maxSought) return problems;
  return [
    `searches for ${amount(most)} characters, ${tooLong}: write them out, or give their field the rule (buf.validate.field).string.max_len = ${maxSought}, or less`,
  ];
}

/** Nothing gets much longer by what is written out. */
function joinProblems(operands: readonly Type[], rounds: number): string[] {
  const long = operands.flatMap(({ most = 0 }) => (most > 0 ? [most] : []));
  const most = long.reduce((sum, length) => sum + length, 0);
  if (long.length < 2 || most * rounds <= maxJoined) return [];
  return [
    `puts together ${amount(most)} characters or items in each of ${rounds} rounds, ${tooLong}: give the fields such rules as (buf.validate.field).string.max_len, for ${Math.floor(maxJoined / rounds)} in all, or less`,
  ];
}

function zoneProblems(rounds: number): string[] {
  const allowed = maxMatched / zoneCost;
  if (rounds <= allowed) return [];
  return [
    `looks into a time zone in each of ${rounds} rounds, ${tooLong}: leave out the zone, or give the list ${allowed} items at the most`,
  ];
}

const tooLong = "which takes too long for a long request";

function amount(most: number): string {
  return most === Infinity ? "any number of" : String(most);
}

/** Whether a part of a call is as long as the caller likes, and the same in each round. */
function isRepeated(name: string, operand: Type, index: number): boolean {
  return operand.outer === true && isLong(operand) && !isQuick(name, operand, index);
}

/** Whether a caller can make a value so long that working on it takes time. */
function isLong({ name, wraps, message }: Type): boolean {
  const scalar = wraps ?? name;
  if (message !== undefined) return !quickMessages.includes(message.typeName);
  return !["bool", "int", "uint", "double", "null_type", "type"].includes(scalar);
}

const quickMessages = ["google.protobuf.Timestamp", "google.protobuf.Duration"];

/** Strings are compared, and keys looked up, without going through a long one for a short one. */
function isQuick(name: string, { name: type, wraps }: Type, index: number): boolean {
  if (name === "_[_]") return true;
  if (name === "@in" && index === 1) return type === "map";
  return ["@in", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"].includes(name) && (wraps ?? type) === "string";
}

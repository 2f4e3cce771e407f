import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { type Path, pathToString, type ReflectMessage, usedTypes } from "@bufbuild/protobuf/reflect";
import type { FieldViolation } from "../../errors.ts";
import { createFieldWalk } from "./field-walk.ts";
import { isRequired } from "./required.ts";
import { hasRules, isIgnored, messagesIn, rulesOf } from "./ruled.ts";
import { countLimit, type Limit, lengthLimit, lengthOf } from "./size-limits.ts";

/** What of a message is far larger than its rules allow; at most 100 fields. */
export type SizeCheck = (message: Message) => readonly FieldViolation[];

/**
 * Compiles a check of the rules that bound the size of a field: `repeated.max_items`, `map.max_pairs`, and, for more than
 * 1,000 characters or bytes, those of the length of strings and bytes: of fields, of the items of lists, and of the keys
 * and values of maps.
 *
 * protovalidate has them too, but goes on to look at each of the items that are too many, and to match a pattern with the
 * text that is too long: with 64 KiB that takes up to 300 ms. So whatever fails here is not given to it.
 *
 * Nor are more than 5,000 items with rules, in all lists and maps of a request together: each takes up to 6 microseconds,
 * if it is a message with a rule in CEL. A field whose `max_items` or `max_pairs` is larger raises that.
 *
 * A request type without such rules costs nothing per call.
 */
export function createSizeCheck(desc: DescMessage): SizeCheck {
  if (!messagesIn(desc).some(isRuled)) return () => nothing;
  const bounds = new Map<DescField, Bound | undefined>();
  const walk = createFieldWalk(desc, (field) => {
    if (!bounds.has(field)) bounds.set(field, boundOf(field));
    return bounds.get(field) !== undefined;
  });
  if (walk === undefined) return () => nothing;
  const mostItems = Math.max(maxItems, ...[...bounds.values()].map((bound) => bound?.count?.most ?? 0));
  return (message) => {
    const violations: FieldViolation[] = [];
    let left = mostItems;
    walk(message, (holder, field, path) => {
      if (violations.length >= maxViolations || left < 0) return "stop";
      const bound = bounds.get(field);
      if (bound === undefined) return "enter";
      const { count, isLookedInto } = bound;
      const items = sizeOf(holder, field);
      const found: FieldViolation[] = [];
      if (count !== undefined && items > count.most) found.push(violation(path, count));
      else if (isLookedInto) {
        left -= items;
        found.push(...(left < 0 ? [tooMany(path, mostItems)] : tooLong(holder, field, path, bound)));
      }
      violations.push(...found.slice(0, maxViolations - violations.length));
      return isLookedInto && found.length === 0 ? "enter" : "skip";
    });
    return violations;
  };
}

const nothing: readonly FieldViolation[] = [];
const maxViolations = 100;
const maxItems = 5_000;

/** What the rules of a field say of sizes. */
interface Bound {
  /** Whether protovalidate looks at what is in the field. */
  readonly isLookedInto: boolean;
  /** Of a list or map. */
  readonly count?: Limit | undefined;
  /** Of a text, or of each in a list or map. */
  readonly length?: Limit | undefined;
  /** Of each key of a map. */
  readonly key?: Limit | undefined;
}

/** Nothing if there is no limit, and no item to be looked at. */
function boundOf(field: DescField): Bound | undefined {
  const rules = rulesOf(field);
  if (isIgnored(rules)) return { isLookedInto: false };
  if (field.fieldKind !== "list" && field.fieldKind !== "map") {
    const length = lengthLimit(rules);
    return length && { isLookedInto: true, length };
  }
  const { message } = field;
  if (rules === undefined) {
    const isLookedInto = message !== undefined && isLookedAt(message);
    return isLookedInto ? { isLookedInto } : undefined;
  }
  const { type } = rules;
  const items = type.case === "repeated" ? type.value.items : undefined;
  const { keys, values } = type.case === "map" ? type.value : {};
  return {
    isLookedInto: !isIgnored(items ?? values),
    count: countLimit(rules),
    length: lengthLimit(items ?? values),
    key: lengthLimit(keys),
  };
}

function isLookedAt(message: DescMessage): boolean {
  return messagesIn(message).some((desc) => {
    const known = lookedAt.get(desc) ?? (isRuled(desc) || [...usedTypes(desc)].includes(desc));
    lookedAt.set(desc, known);
    return known;
  });
}

/** Which messages are looked at: also those without rules that can hold themselves, which protovalidate goes through. */
const lookedAt = new WeakMap<DescMessage, boolean>();

function isRuled(desc: DescMessage): boolean {
  return hasRules(desc) || desc.fields.some(isRequired);
}

function sizeOf(holder: ReflectMessage, field: DescField): number {
  return field.fieldKind === "list" || field.fieldKind === "map" ? holder.get(field).size : 0;
}

/** The field if it is too long, or its items, keys and values that are. A key that is too long is not repeated. */
function tooLong(
  holder: ReflectMessage,
  field: DescField,
  path: Path,
  { length, key: keyLength }: Bound,
): FieldViolation[] {
  const found: FieldViolation[] = [];
  const look = (at: Path, value: unknown) => {
    if (length !== undefined && lengthOf(value) > length.most) found.push(violation(at, length));
  };
  if (length === undefined && keyLength === undefined) return found;
  if (field.fieldKind === "list") {
    let index = 0;
    for (const value of holder.get(field)) look([...path, { kind: "list_sub", index: index++ }], value);
  } else if (field.fieldKind === "map") {
    for (const [key, value] of holder.get(field)) {
      if (keyLength !== undefined && lengthOf(key) > keyLength.most)
        found.push(violation(path, { description: `key ${keyLength.description}` }));
      else look([...path, { kind: "map_sub", key: key as string | number | bigint | boolean }], value);
    }
  } else if (holder.isSet(field)) look(path, holder.get(field));
  return found;
}

function violation(path: Path, { description }: Pick<Limit, "description">): FieldViolation {
  return { field: pathToString(path), description };
}

function tooMany(path: Path, most: number): FieldViolation {
  const description = `is more than can be checked: a request may have ${most} items in all its lists`;
  return violation(path, { description });
}

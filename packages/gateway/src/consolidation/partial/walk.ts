import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { messagesIn } from "../../descriptors.ts";
import type { Wanted } from "../selection/wanted.ts";
import type { Step } from "./path.ts";

/** A search for messages in an answer. */
export interface PartialWalk {
  readonly desc: DescMessage;
  readonly answer: Message;
  /** What of it the caller wants: the rest is not entered. */
  readonly wanted: Wanted;
  /** What the caller may not read is not entered either. */
  readonly hidden: ReadonlySet<DescField>;
  /** The types of the messages that are looked for: what can hold none of them is not entered. */
  readonly types: ReadonlySet<string>;
  /** Where the answer itself stands. */
  readonly start: readonly Step[];
  readonly visit: (message: Message, place: Place, steps: readonly Step[]) => void;
}

/** What stands at a place of the answer. */
export interface Place {
  readonly desc: DescMessage;
  readonly wanted: Wanted;
}

/** As many as protobuf's decoders take. */
const maxDepth = 100;

/**
 * Visits the messages of an answer that can be or hold one of those that are looked for, each as often as it occurs, in
 * the order of the fields. Does not look deeper than decoders do.
 */
export function walkAnswer({ desc, answer, wanted, hidden, types, start, visit }: PartialWalk): void {
  const steps: Step[] = [...start];
  const enter = (message: unknown, place: Place, depth: number): void => {
    if (depth > maxDepth || !isMessage(message)) return;
    if (types.has(place.desc.typeName)) visit(message, place, steps);
    for (const field of place.desc.fields) {
      const inside = wantedOf(place, field);
      if (field.message === undefined || inside === undefined || hidden.has(field)) continue;
      if (!canHold(field.message, types)) continue;
      steps.push({ kind: "field", name: field.name });
      enterField(fieldValue(message, field), field, { desc: field.message, wanted: inside }, depth + 1);
      steps.pop();
    }
  };
  const enterField = (value: unknown, field: DescField, place: Place, depth: number): void => {
    if (!isObject(value)) return;
    if (field.fieldKind === "message") {
      enter(value, place, depth);
      return;
    }
    const isMap = field.fieldKind === "map";
    for (const [key, item] of Object.entries(value)) {
      steps.push(isMap ? { kind: "key", text: keyText(field, key) } : { kind: "item", index: Number(key) });
      enter(item, place, depth);
      steps.pop();
    }
  };
  enter(answer, { desc, wanted }, 1);
}

/** What of a field is wanted; `undefined` if nothing. */
export function wantedOf({ wanted }: Place, field: DescField): Wanted | undefined {
  return wanted === "all" ? "all" : wanted.get(field);
}

function fieldValue(message: Message, { localName, oneof }: DescField): unknown {
  if (oneof === undefined) return Reflect.get(message, localName);
  const chosen: unknown = Reflect.get(message, oneof.localName);
  return isObject(chosen) && Reflect.get(chosen, "case") === localName
    ? Reflect.get(chosen, "value")
    : undefined;
}

function keyText(field: DescField, key: string): string {
  return field.fieldKind === "map" && field.mapKey === ScalarType.STRING ? JSON.stringify(key) : key;
}

function canHold(type: DescMessage, types: ReadonlySet<string>): boolean {
  const possible = typesIn(type);
  for (const name of types) if (possible.has(name)) return true;
  return false;
}

/** The types of messages that a message can be and hold. Found out once for each type. */
function typesIn(type: DescMessage): ReadonlySet<string> {
  const before = known.get(type);
  if (before !== undefined) return before;
  const names = new Set(Array.from(messagesIn([type]), ({ typeName }) => typeName));
  known.set(type, names);
  return names;
}

const known = new WeakMap<DescMessage, ReadonlySet<string>>();

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Wrappers and the like stand in fields as plain values. */
function isMessage(value: unknown): value is Message {
  return isObject(value) && typeof Reflect.get(value, "$typeName") === "string";
}

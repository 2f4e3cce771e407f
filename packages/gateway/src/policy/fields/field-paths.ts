import { create, type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { messagesIn } from "../../descriptors.ts";

/** The ways through a type of message to certain fields, its targets. What leads to none of them is left out. */
export interface FieldPaths {
  /** The targets among the type's own fields. */
  readonly targets: readonly Member[];
  /** The fields that hold messages with targets somewhere inside. */
  readonly inner: readonly Way[];
  /** Every target in the type and in all that it can hold, each once. */
  readonly all: readonly DescField[];
}

/**
 * Creates the search for the ways to the fields that `isTarget` picks; it gives `undefined` for a type without any. For
 * the start: it looks once at each type that a message can hold, recursive ones included.
 *
 * @example
 * const findPaths = createFindPaths((field) => field.name === "pin");
 * const paths = findPaths(GetVaultResponseSchema);
 */
export function createFindPaths(
  isTarget: (field: DescField) => boolean,
): (desc: DescMessage) => FieldPaths | undefined {
  const known = new WeakMap<DescMessage, FieldPaths | typeof nowhere>();
  const pathsOf = (desc: DescMessage): FieldPaths | undefined => {
    const before = known.get(desc);
    if (before !== undefined) return before === nowhere ? undefined : before;
    const all = [...messagesIn([desc])].flatMap(({ fields }) => fields.filter(isTarget));
    const inner: Way[] = [];
    const paths = { targets: desc.fields.filter(isTarget).map(memberOf), inner, all };
    // Known before its fields are looked at: a message can hold its own type.
    known.set(desc, all.length === 0 ? nowhere : paths);
    for (const field of all.length === 0 ? [] : desc.fields) {
      const further = field.message && pathsOf(field.message);
      if (further !== undefined) inner.push({ ...memberOf(field), ...stepsOf(field), paths: further });
    }
    return known.get(desc) === nowhere ? undefined : paths;
  };
  return pathsOf;
}

/**
 * Finds the first target that is set in a message and for which `test` gives something, with its path, such as
 * `entries["a"].secrets[2].pin`. Throws for messages nested more than 100 deep.
 */
export function findField<T>(
  message: Message,
  paths: FieldPaths,
  test: (field: DescField, value: unknown) => T | undefined,
): Found<T> | undefined {
  return firstIn(fieldsOf(message), paths, test, 1);
}

/** What {@link findField} found, and where. */
export interface Found<T> {
  readonly path: string;
  readonly found: T;
}

/** A message, by the local names of its fields. `$typeName` is not relied on, since a handler could leave it out. */
export type Fields = Readonly<Record<string, unknown>>;

/** How a field is read and cleared. */
export interface Member {
  readonly field: DescField;
  /** The property that it is in: the oneof's, for a field of one. */
  readonly property: string;
  /** Its value; `undefined` if it is not set. */
  readonly get: (message: Fields) => unknown;
  /** What the property of a message has that does not set the field; `undefined` for no property at all. */
  readonly blank: () => unknown;
}

/** How a field is walked that holds a message, or a list or map of them. */
export interface Way extends Member {
  /** The ways from there on. */
  readonly paths: FieldPaths;
  /** The messages in its value. */
  readonly items: (value: object) => readonly Fields[];
  /** What the path to one of them has behind the field's name. */
  readonly subscript: (value: object, index: number) => string;
  /** The value with what `change` makes of the messages in it; itself if that is the same. */
  readonly map: (value: object, change: (item: Fields) => Fields) => object;
}

/** In place of the ways of a type without targets. */
const nowhere = Symbol("nowhere");

/** As many as protobuf's decoders take. */
const maxDepth = 100;

/** A message, by its fields. */
export function fieldsOf(message: Message): Fields {
  return message as unknown as Fields;
}

function firstIn<T>(
  message: Fields,
  paths: FieldPaths,
  test: (field: DescField, value: unknown) => T | undefined,
  depth: number,
): Found<T> | undefined {
  checkDepth(depth);
  for (const { field, get } of paths.targets) {
    const value = get(message);
    const found = value === undefined ? undefined : test(field, value);
    if (found !== undefined) return { path: field.name, found };
  }
  for (const way of paths.inner) {
    const value = way.get(message);
    if (!isObject(value)) continue;
    for (const [index, item] of way.items(value).entries()) {
      const first = firstIn(item, way.paths, test, depth + 1);
      if (first === undefined) continue;
      return { ...first, path: `${way.field.name}${way.subscript(value, index)}.${first.path}` };
    }
  }
  return undefined;
}

/** Throws for messages that are nested deeper than protobuf's decoders take. */
export function checkDepth(depth: number): void {
  if (depth > maxDepth) throw new Error(`a message is nested more than ${maxDepth} deep`);
}

function memberOf(field: DescField): Member {
  const { localName, oneof } = field;
  if (oneof !== undefined) {
    return {
      field,
      property: oneof.localName,
      get: (message) => {
        const chosen = message[oneof.localName];
        if (!isObject(chosen) || Reflect.get(chosen, "case") !== localName) return undefined;
        return Reflect.get(chosen, "value") ?? undefined;
      },
      blank: () => ({ case: undefined }),
    };
  }
  if (field.presence !== FeatureSet_FieldPresence.IMPLICIT) {
    // A default stands in the prototype.
    const get = (message: Fields) =>
      (Object.hasOwn(message, localName) ? message[localName] : undefined) ?? undefined;
    return { field, property: localName, get, blank: () => undefined };
  }
  // A message without anything tells what it has for a field that is not set.
  const zero = fieldsOf(create(field.parent))[localName];
  const get = (message: Fields) => {
    const value = message[localName] ?? undefined;
    return Object.is(value, zero) || isEmpty(value, field) ? undefined : value;
  };
  return { field, property: localName, get, blank: blankOf(field, zero) };
}

function isEmpty(value: unknown, { fieldKind }: DescField): boolean {
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  if (fieldKind !== "map" || !isObject(value)) return false;
  for (const _ in value) return false;
  return true;
}

/** Lists and maps can be written to, so each message needs its own. */
function blankOf({ fieldKind }: DescField, zero: unknown): () => unknown {
  if (fieldKind === "list") return () => [];
  return fieldKind === "map" ? () => ({}) : () => zero;
}

function stepsOf(field: DescField): Pick<Way, "items" | "subscript" | "map"> {
  switch (field.fieldKind) {
    case "list":
      return {
        items: (value) => value as Fields[],
        subscript: (_, index) => `[${index}]`,
        map: (value, change) => {
          const list = value as Fields[];
          const changed = list.map(change);
          return changed.some((item, index) => item !== list[index]) ? changed : list;
        },
      };
    case "map": {
      const write = field.mapKey === ScalarType.STRING ? JSON.stringify : String;
      return {
        items: (value) => Object.values(value),
        subscript: (value, index) => `[${write(Object.keys(value)[index])}]`,
        map: (value, change) => {
          const map = value as Readonly<Record<string, Fields>>;
          const changed = Object.entries(map).map(([key, item]) => [key, change(item)] as const);
          // Made so that a key "__proto__" is one like any other.
          return changed.some(([key, item]) => item !== map[key]) ? Object.fromEntries(changed) : map;
        },
      };
    }
    default:
      return {
        items: (value) => [value as Fields],
        subscript: () => "",
        map: (value, change) => change(value as Fields),
      };
  }
}

/** Whether a value has properties. */
export function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

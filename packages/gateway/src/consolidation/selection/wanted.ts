import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { type FieldViolation, invalid } from "../../errors.ts";
import { isWellKnown } from "../../read-mask.ts";

/** What is wanted of a message: all of it, or some of its fields. */
export type Wanted = "all" | WantedFields;

/** The fields of a message that are wanted, with what is wanted of the messages in them. */
export type WantedFields = ReadonlyMap<DescField, Wanted>;

/** More than anyone needs, and few enough that a stranger's mask costs nothing to speak of. */
const maxPaths = 200;
const maxSteps = 10;
const maxLength = 1_000;

/**
 * Reads the paths of a mask (AIP-157, AIP-161). They begin at `desc`; no path at all wants everything. Fields that proto2
 * requires are wanted of every message of which something is, since it could not be encoded without them.
 *
 * Errors: `invalid_argument` about `read_mask`, which lists the paths that lead nowhere; for more than 200 paths; for a
 * path of more than 10 names or 1,000 characters.
 *
 * @example wantedBy(OrderSchema, ["id", "line_items.sku"])
 */
export function wantedBy(desc: DescMessage, paths: readonly string[]): Wanted {
  if (paths.length > maxPaths)
    throw invalid(violation(`has ${paths.length} paths, ${maxPaths} are the most that are read`));
  const problems: FieldViolation[] = [];
  const wanted: MutableFields = new Map();
  let all = paths.length === 0;
  for (const path of paths) {
    const steps = stepsOf(desc, path);
    if (typeof steps === "string") problems.push(violation(`${shown(path)}: ${steps}`));
    else if (steps.length === 0) all = true;
    else add(wanted, steps);
  }
  const [first, ...others] = problems;
  if (first !== undefined) throw invalid(first, ...others);
  return all ? "all" : withRequired(desc, wanted);
}

/** What is wanted, as a short text that two masks share only if they want the same. */
export function textOf(wanted: Wanted): string {
  if (wanted === "all") return "*";
  const fields = [...wanted].sort(([a], [b]) => a.number - b.number);
  return fields
    .map(([{ number }, inside]) => (inside === "all" ? `${number}` : `${number}(${textOf(inside)})`))
    .join();
}

type MutableFields = Map<DescField, "all" | MutableFields>;

/** The fields that a path goes through, none for everything; or what is wrong with it. */
function stepsOf(desc: DescMessage, path: string): readonly DescField[] | string {
  if (path.length > maxLength) return `is longer than ${maxLength} characters`;
  const names = path.split(".");
  return names.length > maxSteps ? `has more than ${maxSteps} names` : follow(desc, names);
}

function follow(desc: DescMessage, [name = "", ...rest]: readonly string[]): readonly DescField[] | string {
  if (name === "*") return rest.length === 0 ? [] : `nothing follows the "*" for all of ${desc.typeName}`;
  const field = fieldNamed(desc, name);
  if (field === undefined) return `${desc.typeName} has no field ${shown(name)}. ${choice(desc)}`;
  const inside = behindItems(field, rest);
  if (typeof inside === "string") return inside;
  if (inside.length === 0) return [field];
  const { message } = field;
  if (message === undefined) return `nothing follows ${nameOf(field)}, which holds no message`;
  if (isWellKnown(message)) return `nothing follows ${nameOf(field)}: ${message.typeName} is given whole`;
  const steps = follow(message, inside);
  return typeof steps === "string" ? steps : [field, ...steps];
}

/** What of a path follows the items of a list or a map, which a `*` stands for: the one of a list may be left out. */
function behindItems(field: DescField, rest: readonly string[]): readonly string[] | string {
  const [first, ...others] = rest;
  if (first === undefined || (field.fieldKind !== "list" && field.fieldKind !== "map")) return rest;
  if (first === "*") return others;
  return field.fieldKind === "list"
    ? rest
    : `no single entry of the map ${nameOf(field)} can be selected: write "${field.name}.*" for all of them`;
}

function add(wanted: MutableFields, [field, ...rest]: readonly DescField[]): void {
  if (field === undefined) return;
  const before = wanted.get(field);
  if (rest.length === 0) wanted.set(field, "all");
  if (rest.length === 0 || before === "all") return;
  const inside: MutableFields = before ?? new Map();
  wanted.set(field, inside);
  add(inside, rest);
}

function withRequired({ fields }: DescMessage, wanted: MutableFields): MutableFields {
  for (const field of fields) {
    const inside = wanted.get(field);
    if (inside === undefined && field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED)
      wanted.set(field, "all");
    if (inside instanceof Map && field.message !== undefined) withRequired(field.message, inside);
  }
  return wanted;
}

/**
 * A field by its name in the proto, or by what the JSON form of a mask makes of it: that knows no names but camel case,
 * and gives them back with an underscore before each capital, so that `line_1` comes as `line1`.
 */
function fieldNamed(desc: DescMessage, name: string): DescField | undefined {
  const names = namesIn(desc);
  return names.get(name) ?? names.get(protoCamelCase(name));
}

function namesIn(desc: DescMessage): ReadonlyMap<string, DescField> {
  const before = known.get(desc);
  if (before !== undefined) return before;
  const named = (nameOf: (field: DescField) => string) =>
    desc.fields.map((field) => [nameOf(field), field] as const);
  const names = new Map([
    ...named(({ name }) => protoCamelCase(name)),
    ...named(({ jsonName }) => jsonName),
    // Last, since the last one counts.
    ...named(({ name }) => name),
  ]);
  known.set(desc, names);
  return names;
}

const known = new WeakMap<DescMessage, ReadonlyMap<string, DescField>>();

const shownFields = 10;

function choice({ fields }: DescMessage): string {
  const names = fields.slice(0, shownFields).map(({ name }) => name);
  return `It has ${names.join(", ") || "none"}${fields.length > shownFields ? ", ..." : ""}`;
}

/** A caller's own words, made fit to be said again. */
function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}

function nameOf({ parent, name }: DescField): string {
  return `${parent.typeName}.${name}`;
}

function violation(description: string): FieldViolation {
  return { field: "read_mask", description };
}

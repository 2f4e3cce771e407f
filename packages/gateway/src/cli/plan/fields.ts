import type { DescField, DescMessage } from "@bufbuild/protobuf";

/** A field of an answer, where it stands in it. */
interface FieldPath {
  readonly field: DescField;
  /** The fields that lead to it, itself among them. */
  readonly fields: readonly DescField[];
}

/** Runs the method for an answer that has these fields alone, and tells which steps it takes. */
export type StepsFor = (omitted: ReadonlySet<DescField>) => Promise<ReadonlySet<string>>;

/** What was found out about the fields of an answer. */
export interface FieldNeeds {
  /** The steps that are taken even for an answer without fields. */
  readonly own: ReadonlySet<string>;
  /** The fields that need each of the other steps, by their paths in the proto: `crates.keeper_name`. */
  readonly byStep: ReadonlyMap<string, readonly string[]>;
}

/**
 * Finds out which field of an answer needs which steps, by asking for one field at a time. A step that a message needs
 * is not said of the fields inside once more. Where nothing inside a field needs a step, it is left at that.
 */
export async function findNeeds(output: DescMessage, stepsFor: StepsFor): Promise<FieldNeeds> {
  const all = allFields(output);
  const keeping = (kept: readonly DescField[]) => stepsFor(without(all, new Set(kept)));
  const own = await keeping([]);
  const byStep = new Map<string, string[]>();
  const visit = async ({ field, fields }: FieldPath, known: ReadonlySet<string>): Promise<void> => {
    const inside = messageIn(field, fields);
    const steps = await keeping([...fields, ...(inside === undefined ? [] : allFields(inside))]);
    if (without(steps, known).size === 0) return;
    const needed = inside === undefined ? steps : await keeping(fields);
    for (const step of without(needed, known))
      byStep.set(step, [...(byStep.get(step) ?? []), fields.map(({ name }) => name).join(".")]);
    for (const inner of inside?.fields ?? [])
      await visit({ field: inner, fields: [...fields, inner] }, new Set([...known, ...needed]));
  };
  for (const field of output.fields) await visit({ field, fields: [field] }, own);
  return { own, byStep };
}

/** The message in a field, unless the path has been in one of its kind: then nothing new is inside. */
function messageIn({ message }: DescField, path: readonly DescField[]): DescMessage | undefined {
  if (message === undefined || isLeaf(message)) return undefined;
  return path.some(({ parent }) => parent === message) ? undefined : message;
}

/** All fields of a message and of those in it. */
function allFields(root: DescMessage): ReadonlySet<DescField> {
  const messages = new Set([root]);
  // A set that grows is walked to its end.
  for (const { fields } of messages)
    for (const { message } of fields) if (message !== undefined && !isLeaf(message)) messages.add(message);
  return new Set([...messages].flatMap(({ fields }) => fields));
}

function without<T>(set: ReadonlySet<T>, others: ReadonlySet<T>): ReadonlySet<T> {
  return new Set([...set].filter((item) => !others.has(item)));
}

function isLeaf({ typeName }: DescMessage): boolean {
  return typeName.startsWith("google.protobuf.");
}

import type { DescMessage, Message } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { copyProblem, isSetIn, type Member, membersOf, propertyOf, type Shape, shapeOf } from "./shape.ts";
import { compileSource, type Derived, type FieldPlan, type Fill, isProblems, type Place } from "./source.ts";

/** Makes one member: of one message at once, or of many together. */
export type Step = { readonly target: Member } & (
  | { readonly assign: (from: Message, to: Message) => void }
  | { readonly fill: Fill }
);

/** Fields as they are made, and what is wrong with them. */
export interface CompiledFields {
  readonly steps: readonly Step[];
  /** Where each member comes from, by its local name. */
  readonly plans: Readonly<Record<string, FieldPlan>>;
  readonly problems: readonly string[];
}

/** What is compiled. */
export interface CompileOptions extends Pick<Place, "of" | "blame"> {
  /** The members that are made otherwise, by their local names. */
  readonly except?: readonly string[];
}

/** Compiles the sources of the members of a message, given by their local names. What has none is copied. */
export function compileFields(
  from: DescMessage,
  to: DescMessage,
  fields: object,
  options: CompileOptions,
): CompiledFields {
  // Which type each source has is settled by the compiler; from here on, fields are handled by name.
  const sources = new Map(
    Object.entries(fields as Record<string, string | Derived<never, unknown> | undefined>),
  );
  const targets = membersOf(to);
  const problems: string[] = [];
  const steps: Step[] = [];
  const plans: Record<string, FieldPlan> = {};
  const add = (compiled: Compiled | readonly string[] | undefined, name: string): void => {
    if (compiled === undefined) return;
    if (isProblems(compiled)) problems.push(...compiled);
    else {
      steps.push(compiled.step);
      plans[name] = compiled.plan;
    }
  };
  for (const target of targets) {
    if (options.except?.includes(target.localName)) continue;
    const source = sources.get(target.localName);
    const made =
      source === undefined ? copied(from, to, target, options) : sourced(source, from, to, target, options);
    add(made, target.localName);
  }
  for (const name of sources.keys())
    if (!targets.some(({ localName }) => localName === name))
      problems.push(
        `${to.typeName} has no field ${name}, but its ${options.of} gives one: remove it, or add the field to the proto`,
      );
  return { steps, plans, problems };
}

interface Compiled {
  readonly step: Step;
  readonly plan: FieldPlan;
}

function sourced(
  source: string | Derived<never, unknown>,
  from: DescMessage,
  to: DescMessage,
  target: Member,
  { of, blame }: CompileOptions,
): Compiled | readonly string[] {
  const made = compileSource(source, { from, target: shapeOf(target), setOnly: false, of, blame });
  if (isProblems(made))
    return made.map(
      (problem) => `${to.typeName}.${target.name}, in its ${of} of ${from.typeName}: ${problem}`,
    );
  if ("fill" in made) return { step: { target, fill: made.fill }, plan: made.plan };
  const { value } = made;
  const name = target.localName;
  return {
    step: {
      target,
      assign: (message, made) => {
        const found = value(message);
        // A field without a value stays as `create` left it.
        if (found !== undefined) setMember(made, name, found);
      },
    },
    plan: made.plan,
  };
}

function copied(
  from: DescMessage,
  to: DescMessage,
  target: Member,
  { of }: CompileOptions,
): Compiled | readonly string[] | undefined {
  const name = target.localName;
  const origin = membersOf(from).find(({ localName }) => localName === name);
  const problem =
    origin === undefined
      ? "there is no internal field of this name"
      : copyProblem(shapeOf(origin), shapeOf(target));
  if (origin === undefined && of === "request map") return undefined;
  if (origin === undefined || problem !== undefined)
    return [
      `${to.typeName}.${target.name} has no source in its ${of} of ${from.typeName}: ${problem}. ` +
        `Write: ${name}: ${suggestion(origin, target)}`,
    ];
  return { step: { target, assign: copy(origin) }, plan: { kind: "copy", reads: [name] } };
}

/** What cannot be told from a zero is copied as it is; all else only if it is set. */
function copy(origin: Member): (from: Message, to: Message) => void {
  const name = origin.localName;
  const shape = shapeOf(origin);
  if (shape.count !== "oneof" && !shape.hasPresence)
    return (message, made) => setMember(made, name, propertyOf(message, name));
  const isSet = isSetIn(origin);
  return (message, made) => {
    if (isSet(message)) setMember(made, name, propertyOf(message, name));
  };
}

/** A source that would fit, in code. */
function suggestion(origin: Member | undefined, target: Member): string {
  const [from, to]: (Shape | undefined)[] = [origin && shapeOf(origin), shapeOf(target)];
  const name = target.localName;
  if (to?.count === "oneof")
    return `cases({ ${to.oneof.fields.map(({ localName }) => `${localName}: ...`).join(", ")} })`;
  const pair = from !== undefined && from.count !== "oneof" && to !== undefined;
  if (pair && from.message?.typeName === AnySchema.typeName)
    return `packed("${name}", [the messages that pass])`;
  if (pair && from.enum && to.enum)
    return (
      `mapped(map, "${name}"), where map is ` +
      `enumByName(${from.enum.name}Schema, ${to.enum.name}Schema, { onUnknown: "default" })`
    );
  if (pair && from.message && to.message)
    return `nested(a view of ${from.message.name} as ${to.message.name}, "${name}")`;
  if (pair) return `computed(["${name}"], (${name}) => ...)`;
  return "the path of another field, or computed(...), related(...), constant(...)";
}

/** Gives a member of a message its value. */
export function setMember(message: Message, name: string, value: unknown): void {
  (message as unknown as Record<string, unknown>)[name] = value;
}

import {
  create,
  type DescField,
  type DescMessage,
  type Message,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Call } from "../call.ts";
import { StartError } from "../errors.ts";
import { copyProblem, type Member, membersOf } from "./copy.ts";
import { type Fill, isFill, type Source } from "./source.ts";

/** How one public message is made from one internal message. Made by {@link view}. */
export interface View<From extends Message = Message, To extends Message = Message> {
  /** The internal message. */
  readonly from: DescMessage;
  /** The public message. */
  readonly to: DescMessage;
  /** Where each field of the public message comes from, by its local name: to be listed, checked and drawn. */
  readonly fields: Readonly<Record<string, FieldPlan>>;
  /** Makes one public message. */
  readonly one: (message: From, call: Call) => Promise<To>;
  /** Makes many, in the same order; each relation is fetched once for all of them. */
  readonly all: (messages: readonly From[], call: Call) => Promise<To[]>;
  /** Makes one public message from each of a stream. In a streaming call, relations are fetched anew for each. */
  readonly each: (messages: AsyncIterable<From>, call: Call) => AsyncIterable<To>;
}

/** Where a field comes from. */
export type FieldPlan =
  | { readonly kind: "copy"; readonly from: string }
  | { readonly kind: "compute" }
  | { readonly kind: "nested"; readonly view: View<never, Message> }
  | { readonly kind: "related"; readonly loader: string; readonly view?: View<never, Message> };

/** The fields of a message as generated, without what belongs to the runtime. */
type Fields<M> = Omit<M, keyof Message>;

/** Enums of different messages look alike to the compiler, so none is copied without being named. */
type IsEnum<T> = T extends readonly (infer Item)[]
  ? IsEnum<Item>
  : number extends T
    ? false
    : NonNullable<T> extends number
      ? true
      : false;

/** The public fields that are copied by themselves: of the same name and type in the internal message. */
type Copied<From, To> = {
  [K in keyof Fields<To>]-?: K extends keyof From
    ? From[K] extends To[K]
      ? IsEnum<To[K]> extends true
        ? never
        : K
      : never
    : never;
}[keyof Fields<To>];

/** A source for every public field; those that can be copied may be left out. */
export type ViewFields<From extends Message, To extends Message> = {
  readonly [K in Exclude<keyof Fields<To>, Copied<From, To>>]-?: Source<From, To[K]>;
} & {
  readonly [K in Copied<From, To>]?: Source<From, To[K]>;
};

/**
 * Declares how a public message is made from an internal one. Fields of the same name and type are copied by
 * themselves; every other public field must name its source, or the view does not compile. Internal fields that the
 * public message does not have go nowhere. A field that the caller may not read is not made, and nothing is fetched for it.
 *
 * A source is a plain function of the internal message, `nested(...)` or `related(...)`.
 *
 * What the compiler cannot see (an `int32` copied to an `int64`, an enum to another enum) is checked here: throws a
 * {@link StartError} that names each field and what would satisfy it.
 *
 * @example
 * export const orderView = view(internal.OrderSchema, pub.OrderSchema, {
 *   userEmail: related(usersById, (order) => order.userId, (user) => user.email, { onMissing: "empty" }),
 *   total: nested(moneyView, (order) => order.total),
 * });
 */
export function view<From extends DescMessage, To extends DescMessage>(
  from: From,
  to: To,
  fields: ViewFields<MessageShape<From>, MessageShape<To>>,
): View<MessageShape<From>, MessageShape<To>> {
  // Which type each source has is settled above; from here on, fields are handled by name.
  const sources = fields as Readonly<Record<string, Source<MessageShape<From>, unknown> | undefined>>;
  const plan = compile<MessageShape<From>>(from, to, sources);
  const visible = createVisible(plan);
  const all = async (messages: readonly MessageShape<From>[], call: Call): Promise<MessageShape<To>[]> => {
    const { assigns, fills } = visible(call.hidden);
    const made = messages.map((message) => {
      const target = create(to);
      for (const { assign } of assigns) assign(message, target);
      return target;
    });
    if (fills.length > 0 && messages.length > 0)
      await Promise.all(fills.map(({ fill }) => fill(messages, made, call)));
    return made;
  };
  const one = async (message: MessageShape<From>, call: Call): Promise<MessageShape<To>> => {
    const [made] = await all([message], call);
    // One message in, one message out.
    return made as MessageShape<To>;
  };
  return {
    from,
    to,
    fields: plan.fields,
    one,
    all,
    each: async function* (messages, call) {
      for await (const message of messages) yield one(message, call);
    },
  };
}

/** A view as straight lists of steps: first what needs no waiting, then what does, all at once. */
interface Plan<From> {
  readonly fields: Record<string, FieldPlan>;
  readonly assigns: Assign<From>[];
  readonly fills: Fills<From>[];
}

/** Makes one member of one message. */
interface Assign<From> {
  readonly target: Member;
  readonly assign: (from: From, to: Message) => void;
}

/** Makes one member of many messages. */
interface Fills<From> {
  readonly target: Member;
  readonly fill: (from: readonly From[], to: readonly Message[], call: Call) => Promise<void>;
}

/**
 * Leaves out the steps that make nothing but fields that a caller may not read, so that nothing is fetched for them. All
 * callers of the same roles have the same set, for which this is worked out once.
 */
function createVisible<From>(plan: Plan<From>): (hidden: Call["hidden"]) => Omit<Plan<From>, "fields"> {
  const plans = new WeakMap<Call["hidden"], Omit<Plan<From>, "fields">>();
  return (hidden) => {
    if (hidden.size === 0) return plan;
    const known = plans.get(hidden);
    if (known !== undefined) return known;
    const isVisible = ({ target }: { readonly target: Member }): boolean =>
      target.kind === "field"
        ? !hidden.has(target.field)
        : !target.oneof.fields.every((field) => hidden.has(field));
    const visible = { assigns: plan.assigns.filter(isVisible), fills: plan.fills.filter(isVisible) };
    plans.set(hidden, visible);
    return visible;
  };
}

function compile<From extends Message>(
  from: DescMessage,
  to: DescMessage,
  sources: Readonly<Record<string, Source<From, unknown> | undefined>>,
): Plan<From> {
  const plan: Plan<From> = { fields: {}, assigns: [], fills: [] };
  const problems: string[] = [];
  const targets = membersOf(to);
  const origins = new Map(membersOf(from).map((member) => [member.localName, member]));
  for (const target of targets) {
    const source = sources[target.localName];
    if (source === undefined) addCopy(plan, problems, origins.get(target.localName), target, { from, to });
    else if (isFill(source)) addFill(plan, problems, source, target, to);
    else addCompute(plan, source, target);
  }
  const known = new Set(targets.map((target) => target.localName));
  for (const name of Object.keys(sources).filter((name) => !known.has(name)))
    problems.push(
      `${to.typeName} has no field ${name}, but its view gives one: remove it, or add the field to the proto`,
    );
  if (problems.length > 0) throw new StartError(problems);
  return plan;
}

function addCopy<From extends Message>(
  plan: Plan<From>,
  problems: string[],
  origin: Member | undefined,
  target: Member,
  { from, to }: { readonly from: DescMessage; readonly to: DescMessage },
): void {
  const problem = copyProblem(origin, target);
  if (origin === undefined || problem !== undefined) {
    problems.push(
      `${to.typeName}.${target.name} has no source in its view of ${from.typeName}: ${problem}. ` +
        `Write: ${target.localName}: ${suggestion(origin, target)}`,
    );
    return;
  }
  const name = target.localName;
  plan.fields[name] = { kind: "copy", from: origin.name };
  plan.assigns.push({
    target,
    assign: (message, made) => {
      if (origin.isSet(message)) setMember(made, name, getMember(message, name));
    },
  });
}

/** A source that would fit, in code. */
function suggestion(origin: Member | undefined, target: Member): string {
  const [from, to] = [origin, target].map((member) => (member?.kind === "field" ? member.field : undefined));
  const get = `(message) => message.${target.localName}`;
  if (from?.enum && to?.enum && to.fieldKind === "enum")
    return (
      `(message) => mapped(message.${target.localName}), where mapped is ` +
      `enumByName(${from.enum.name}Schema, ${to.enum.name}Schema, { onUnknown: "default" })`
    );
  if (from?.message && to?.message)
    return `nested(a view of ${from.message.name} as ${to.message.name}, ${get})`;
  return "(message) => ..., or nested(...), or related(...)";
}

function addCompute<From extends Message>(
  plan: Plan<From>,
  source: (message: From) => unknown,
  target: Member,
): void {
  plan.fields[target.localName] = { kind: "compute" };
  plan.assigns.push({
    target,
    assign: (message, made) => assignDefined(made, target.localName, source(message)),
  });
}

function addFill<From extends Message>(
  plan: Plan<From>,
  problems: string[],
  source: Fill<From, unknown>,
  target: Member,
  to: DescMessage,
): void {
  const name = target.localName;
  plan.fields[name] = source.plan;
  const made = "view" in source.plan ? source.plan.view?.to.typeName : undefined;
  const wanted = messageOf(target)?.typeName;
  if (made !== undefined && made !== wanted)
    problems.push(`${to.typeName}.${target.name} is ${wanted ?? "no message"}, but its view makes ${made}`);
  plan.fills.push({
    target,
    fill: async (messages, targets, call) => {
      const values = await source.fill(messages, call);
      targets.forEach((message, index) => {
        assignDefined(message, name, values[index]);
      });
    },
  });
}

function messageOf(target: Member): DescField["message"] {
  return target.kind === "field" ? target.field.message : undefined;
}

/** A field without a value stays as `create` left it. */
function assignDefined(message: Message, name: string, value: unknown): void {
  if (value !== undefined) setMember(message, name, value);
}

function getMember(message: Message, name: string): unknown {
  return (message as unknown as Record<string, unknown>)[name];
}

function setMember(message: Message, name: string, value: unknown): void {
  (message as unknown as Record<string, unknown>)[name] = value;
}

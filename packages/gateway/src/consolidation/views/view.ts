import type { DescField, DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { StartError } from "../../errors.ts";
import { batches, type EachOptions } from "./batches.ts";
import { blankOf } from "./blank.ts";
import { compileFields, type Step, setMember } from "./compile.ts";
import type { Fields } from "./path.ts";
import { fieldsOf } from "./shape.ts";
import { type Convertible, type Fill, Lacking, type Source } from "./source.ts";

/** How one public message is made from one internal message. Made by {@link view}. */
export interface View<From extends Message = Message, To extends Message = Message> extends Convertible {
  /** Makes one public message. */
  readonly one: (message: From, call: Call) => Promise<To>;
  /** Makes many, in the same order; each relation is fetched once for all of them. */
  readonly all: (messages: readonly From[], call: Call) => Promise<To[]>;
  /**
   * Makes one public message from each of a stream, in batches that are small in number and in time, so that relations
   * are fetched once for a batch. Reads no further than its reader has come; when that leaves, so does it.
   */
  readonly each: (messages: AsyncIterable<From>, call: Call, options?: EachOptions) => AsyncIterable<To>;
}

/** Enums of different messages look alike to the compiler, so none is copied without being named. */
type IsEnum<T> = T extends readonly (infer Item)[]
  ? IsEnum<Item>
  : number extends T
    ? false
    : NonNullable<T> extends number
      ? true
      : false;

/** The public fields that are copied by themselves: of the same name and type in the internal message. */
export type Copied<From, To> = {
  [K in keyof Fields<To>]-?: K extends keyof From
    ? From[K] extends To[K]
      ? IsEnum<To[K]> extends true
        ? never
        : K
      : never
    : never;
}[keyof Fields<To>];

/** What a field holds when it is set. */
export type Held<T> = Exclude<T, undefined>;

/** A source for every public field; those that can be copied may be left out. */
export type ViewFields<From extends Message, To extends Message> = {
  readonly [K in Exclude<keyof Fields<To>, Copied<From, To>>]-?: Source<From, Held<To[K]>>;
} & {
  readonly [K in Copied<From, To>]?: Source<From, Held<To[K]>>;
};

/**
 * Declares how a public message is made from an internal one. Fields of the same name and type are copied by
 * themselves; every other public field must name its source, or the view does not compile. Internal fields that the
 * public message does not have go nowhere. A field that the caller may not read, or did not select, is not made, and
 * nothing is fetched for it. Lists and messages that are copied are shared with the internal message, not cloned.
 *
 * A source is the path of another field, or one of `computed`, `constant`, `mapped`, `nested`, `cases` and `related`.
 * All of them say which fields they read: a view cannot take what it does not name.
 *
 * What the compiler cannot see (an `int32` copied to an `int64`, an enum to another enum) is checked here: throws a
 * {@link StartError} that names each field and what would satisfy it.
 *
 * @example
 * export const orderView = view(internal.OrderSchema, pub.OrderSchema, {
 *   userEmail: related(usersById, "userId", "email", { onMissing: "empty", onError: "partial" }),
 *   total: nested(moneyView, "total"),
 *   status: mapped(publicStatus, "status"),
 * });
 */
export function view<From extends DescMessage, To extends DescMessage>(
  from: From,
  to: To,
  fields: ViewFields<MessageShape<From>, MessageShape<To>>,
): View<MessageShape<From>, MessageShape<To>> {
  const { steps, plans, problems } = compileFields(from, to, fields, {
    of: "view",
    blame: ({ typeName }, field, description) => new Error(`${typeName}.${field}: ${description}`),
  });
  if (problems.length > 0) throw new StartError(problems);
  const blank = blankOf(to);
  const stepsFor = createStepsFor(steps);
  const all = async (messages: readonly MessageShape<From>[], call: Call): Promise<MessageShape<To>[]> => {
    const { assigns, fills } = stepsFor(call.omitted);
    const made = messages.map((message) => {
      const target = blank();
      for (const assign of assigns) assign(message, target);
      return target;
    });
    if (fills.length > 0 && messages.length > 0)
      await Promise.all(fills.map(({ name, fill }) => fillMember(name, fill, messages, made, call)));
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
    fields: plans,
    one,
    all,
    each: async function* (messages, call, options) {
      for await (const batch of batches(messages, call.signal, options)) yield* await all(batch, call);
    },
  };
}

/** Steps in the order of work: first what needs no waiting, then what does, all at once. */
interface Steps {
  readonly assigns: readonly ((from: Message, to: Message) => void)[];
  readonly fills: readonly { readonly name: string; readonly fill: Fill }[];
}

/**
 * Leaves out the steps that make nothing but fields that the answer will not have, so that nothing is fetched for them.
 * Many calls have the same set of such fields, for which this is worked out once.
 */
function createStepsFor(steps: readonly Step[]): (omitted: ReadonlySet<DescField>) => Steps {
  const sorted = (wanted: readonly Step[]): Steps => ({
    assigns: wanted.flatMap((step) => ("assign" in step ? [step.assign] : [])),
    fills: wanted.flatMap((step) =>
      "fill" in step ? [{ name: step.target.localName, fill: step.fill }] : [],
    ),
  });
  const whole = sorted(steps);
  const known = new WeakMap<ReadonlySet<DescField>, Steps>();
  return (omitted) => {
    if (omitted.size === 0) return whole;
    const found = known.get(omitted);
    if (found !== undefined) return found;
    const rest = sorted(steps.filter(({ target }) => !fieldsOf(target).every((field) => omitted.has(field))));
    known.set(omitted, rest);
    return rest;
  };
}

async function fillMember(
  name: string,
  fill: Fill,
  messages: readonly Message[],
  made: readonly Message[],
  call: Call,
): Promise<void> {
  const values = await fill(messages, call);
  made.forEach((message, index) => {
    const value = values[index];
    if (value instanceof Lacking) lack(message, name, value, call);
    else if (value !== undefined) setMember(message, name, value);
  });
}

/** Notes what a message lacks, for the caller to be told. */
function lack(message: Message, name: string, { error, rest }: Lacking, call: Call): void {
  if (rest !== undefined) setMember(message, name, rest);
  call.missing.add(message, name, error);
}

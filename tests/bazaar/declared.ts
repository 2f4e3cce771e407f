import { clone, type DescField, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { FieldPlan, View } from "@portico/gateway";
import { messagesIn } from "./canaries.ts";

// What a view declares that it takes, worked out from its plan alone: it shares no code with what makes messages.

/** A view, or a request map, as data. */
export type Plan = Pick<View, "from" | "to" | "fields">;

/** What is taken of one message, or of one field. */
interface Taken {
  /** All of it. */
  whole: boolean;
  readonly fields: Map<DescField, Taken>;
  /** What these take of it. */
  readonly by: Set<Plan>;
}

/** A copy that has nothing but what a plan declares. */
export function declaredBy<D extends DescMessage>(
  plan: Plan,
  desc: D,
  message: MessageShape<D>,
): MessageShape<D> {
  const copy = clone(desc, message);
  keep(reflect(desc, copy), { whole: false, fields: new Map(), by: new Set([plan]) });
  return copy;
}

function keep(message: ReflectMessage, taken: Taken): void {
  if (taken.whole) return;
  for (const plan of taken.by)
    for (const field of Object.values(plan.fields)) add(message.desc, taken, field);
  message.setUnknown([]);
  for (const field of message.fields) {
    const inside = taken.fields.get(field);
    if (inside === undefined) message.clear(field);
    else if (message.isSet(field)) for (const inner of messagesIn(message, field)) keep(inner, inside);
  }
}

/** Adds what a plan takes of a message. `itself(...)` adds to the plans, which are still being gone through. */
function add(desc: DescMessage, taken: Taken, plan: FieldPlan): void {
  if (plan.cases !== undefined) {
    for (const source of Object.values(plan.cases)) add(desc, taken, source);
    return;
  }
  if (plan.kind === "nested" && plan.view !== undefined) {
    if (plan.reads.length === 0) taken.by.add(plan.view);
    for (const path of plan.reads) for (const end of at(desc, taken, path)) end.by.add(plan.view);
    return;
  }
  for (const path of plan.reads) for (const end of at(desc, taken, path)) end.whole = true;
}

/** What is taken at the end of a path: of several fields, if that is a oneof. */
function at(desc: DescMessage, taken: Taken, path: string): Taken[] {
  const [name = "", ...rest] = path.split(".");
  const oneof = desc.oneofs.find(({ localName }) => localName === name);
  if (oneof !== undefined && rest.length > 0) return at(desc, taken, rest.join("."));
  const fields = oneof?.fields ?? desc.fields.filter(({ localName }) => localName === name);
  if (fields.length === 0) throw new Error(`${desc.typeName} has no ${path}`);
  return fields.flatMap((field) => {
    const inside: Taken = taken.fields.get(field) ?? { whole: false, fields: new Map(), by: new Set() };
    taken.fields.set(field, inside);
    if (rest.length === 0) return [inside];
    if (field.message === undefined) throw new Error(`${desc.typeName}.${name} is no message`);
    return at(field.message, inside, rest.join("."));
  });
}

import { membersOf } from "../../consolidation/views/shape.ts";
import type { Convertible, FieldPlan } from "../../consolidation/views/source.ts";

/** A field that a view makes, or one case of a oneof, and where it comes from. */
export interface MadeField {
  readonly view: Convertible;
  /** By its name in the proto: `acme.api.v1.Parcel.owner_name`. */
  readonly name: string;
  readonly plan: FieldPlan;
}

/** Some views, and all that are used in them. For request maps likewise. */
export function withNested(roots: readonly Convertible[]): readonly Convertible[] {
  const found = new Set(roots);
  // A set gives what is added to it on the way as well.
  for (const view of found)
    for (const { plan } of madeFields(view)) for (const inner of viewsIn(plan)) found.add(inner);
  return [...found];
}

/** What a view makes, a oneof by its cases where each has a source of its own. */
export function madeFields(view: Convertible): readonly MadeField[] {
  const parent = view.to.typeName;
  return membersOf(view.to).flatMap((member): MadeField[] => {
    const plan = view.fields[member.localName];
    if (plan === undefined) return [];
    if (member.kind !== "oneof") return [{ view, name: `${parent}.${member.name}`, plan }];
    if (plan.cases === undefined)
      return member.oneof.fields.map(({ name, localName }) => ({
        view,
        name: `${parent}.${name}`,
        plan: plan.kind === "copy" || plan.kind === "path" ? caseOf(plan, localName) : plan,
      }));
    const sources = plan.cases;
    return member.oneof.fields.flatMap(({ name, localName }) => {
      const source = sources[localName];
      return source === undefined ? [] : [{ view, name: `${parent}.${name}`, plan: source }];
    });
  });
}

/** A copied oneof is a copy of each of its cases. */
function caseOf(plan: FieldPlan, localName: string): FieldPlan {
  return { ...plan, reads: plan.reads.map((path) => `${path}.${localName}`) };
}

function viewsIn(plan: FieldPlan): readonly Convertible[] {
  return [
    ...(plan.view === undefined ? [] : [plan.view]),
    ...(plan.into === undefined ? [] : viewsIn(plan.into)),
    ...Object.values(plan.cases ?? {}).flatMap(viewsIn),
  ];
}

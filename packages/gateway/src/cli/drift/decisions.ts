import type { DescEnum, DescField, DescMessage } from "@bufbuild/protobuf";
import type { App } from "../../application.ts";
import { compilePath } from "../../consolidation/views/path.ts";
import type { Convertible, FieldPlan } from "../../consolidation/views/source.ts";
import { loadersOf } from "../check/warnings.ts";
import { insideOf, nameOf, reachable } from "./surface.ts";
import { type MadeField, madeFields, withNested } from "./views.ts";

/** What an API does with the internal fields and values, each by its name, with where it does so. */
export interface Decisions {
  /** Stands in answers: the public fields and values. */
  readonly exposed: Notes;
  /** Is read, and goes no further. */
  readonly used: Notes;
  /** Is set in requests to the internal services. */
  readonly set: Notes;
}

/** Some texts about each name. */
export type Notes = ReadonlyMap<string, ReadonlySet<string>>;

/** Derives from views, request maps and loaders what is done with the internal fields. */
export function decisionsOf(app: App): Decisions {
  const notes = { exposed: createNotes(), used: createNotes(), set: createNotes() };
  for (const view of withNested(app.views))
    for (const { name, plan } of madeFields(view)) follow(plan, view.from, name, notes);
  for (const map of withNested(app.requests))
    for (const made of madeFields(map)) noteRequest(made, map, notes.set);
  for (const { name, entity, ways } of loadersOf(app))
    for (const { method, items, nextPageToken, key } of ways) {
      for (const path of [items, nextPageToken ?? []].flat())
        noteWay(method.output, path, `read by ${name}`, notes.used);
      for (const path of key) noteWay(entity, path, `the key of ${name}`, notes.used);
    }
  return { exposed: notes.exposed.of, used: notes.used.of, set: notes.set.of };
}

interface NoteBook {
  readonly of: Map<string, Set<string>>;
  readonly add: (name: string, text: string) => void;
}

function createNotes(): NoteBook {
  const of = new Map<string, Set<string>>();
  return {
    of,
    add: (name, text) => {
      const known = of.get(name) ?? new Set();
      of.set(name, known.add(text));
    },
  };
}

type NoteBooks = Readonly<Record<"exposed" | "used" | "set", NoteBook>>;

/** Notes what becomes of the fields that a public one is made of. */
function follow(plan: FieldPlan, from: DescMessage, where: string, notes: NoteBooks): void {
  const { exposed, used } = notes;
  switch (plan.kind) {
    case "copy":
    case "path":
      for (const end of ends(plan, from, where, used)) {
        exposed.add(nameOf(end), where);
        noteInside(insideOf(end), where, exposed);
      }
      return;
    case "mapped":
      for (const end of ends(plan, from, where, used)) exposed.add(nameOf(end), where);
      for (const [name, publicName] of Object.entries(plan.enum?.names ?? {}))
        exposed.add(`${plan.enum?.from.typeName}.${name}`, `${plan.enum?.to.typeName}.${publicName}`);
      return;
    case "nested":
      for (const end of ends(plan, from, where, used)) exposed.add(nameOf(end), where);
      return;
    case "computed":
      for (const path of plan.reads) noteWay(from, path, `read for ${where}`, used);
      return;
    case "cases":
      for (const source of Object.values(plan.cases ?? {})) follow(source, from, where, notes);
      return;
    case "related":
      for (const path of plan.reads) noteWay(from, path, `the key of ${where}`, used);
      if (plan.loader !== undefined && plan.into !== undefined)
        follow(plan.into, plan.loader.entity, where, notes);
      return;
    case "constant":
      return;
  }
}

/** The fields that paths end in; those on the way are noted as used. */
function ends(plan: FieldPlan, from: DescMessage, where: string, used: NoteBook): DescField[] {
  return plan.reads.flatMap((path) => {
    const compiled = compilePath(from, path);
    if (typeof compiled === "string") return [];
    if (compiled.end.kind === "oneof") return [...compiled.fields];
    for (const field of compiled.fields.slice(0, -1)) used.add(nameOf(field), `holds ${where}`);
    return compiled.fields.slice(-1);
  });
}

function noteWay(from: DescMessage, path: string, text: string, notes: NoteBook): void {
  const compiled = compilePath(from, path);
  if (typeof compiled === "string") return;
  for (const field of compiled.fields) notes.add(nameOf(field), text);
}

/** What is copied as it is, is copied with all that it holds. */
function noteInside(inside: DescMessage | DescEnum | undefined, where: string, notes: NoteBook): void {
  if (inside === undefined) return;
  for (const desc of inside.kind === "message" ? reachable([inside]) : [inside])
    if (desc.kind === "message") for (const field of desc.fields) notes.add(nameOf(field), where);
    else for (const { name } of desc.values) notes.add(`${desc.typeName}.${name}`, where);
}

/** Notes an internal field that a request map makes. */
function noteRequest({ name, plan }: MadeField, map: Convertible, set: NoteBook): void {
  const places = plan.reads.flatMap((path) => {
    const compiled = compilePath(map.from, path);
    return typeof compiled === "string" ? [] : compiled.fields.slice(-1);
  });
  const text = places.length === 0 ? "a constant" : places.map(nameOf).join(", ");
  set.add(name, text);
  if (plan.kind === "copy" || plan.kind === "path")
    for (const field of places) noteInside(insideOf(field), text, set);
  for (const [from, to] of Object.entries(plan.enum?.names ?? {}))
    set.add(`${plan.enum?.to.typeName}.${to}`, `${plan.enum?.from.typeName}.${from}`);
}

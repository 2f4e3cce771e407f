import type { App } from "../../application.ts";
import { declaration } from "../../upstream/upstream.ts";
import type { Decisions } from "./decisions.ts";
import { entryOf, type Ledger } from "./ledger.ts";
import { type Element, insideOf } from "./surface.ts";

/** What was decided about an internal field or value. */
export interface Standing {
  readonly name: string;
  readonly status: Status;
  /** Where it is exposed, what it is used for, or the reason in the ledger. */
  readonly words: readonly string[];
  /** The hidden or undecided field without which nobody would see it. */
  readonly within: string | undefined;
}

/** What can be decided. */
export type Status = "exposed" | "used" | "hidden" | "handled" | "undecided";

/**
 * What was decided about each field and value. What nobody decided on goes with the field that it stands in, if none but
 * hidden and undecided ones lead there.
 */
export function standingsOf(
  app: App,
  surface: ReadonlyMap<string, Element>,
  decisions: Decisions,
  ledger: Ledger,
): readonly Standing[] {
  const own = [...surface.values()].map((element) => ({ element, ...decideOn(element, decisions, ledger) }));
  const holders = Map.groupBy(own, ({ element }) => element.field && insideOf(element.field));
  const reached = reachedParents(app, own);
  return own.map((decided) => {
    const { name, parent } = decided.element;
    const holder =
      decided.status === "undecided" && !reached.has(parent)
        ? holderOf(parent, holders, reached, new Set())
        : undefined;
    const { status, words } = holder ?? decided;
    return { name, status, words, within: holder?.element.name };
  });
}

type Parent = Element["parent"];

/** An element with what was decided about itself. */
interface Decided extends Pick<Standing, "status" | "words"> {
  readonly element: Element;
}

/** What requests set is no answer to who may read it: that counts for what requests alone have. */
function decideOn(
  { name, parent, answered }: Element,
  decisions: Decisions,
  ledger: Ledger,
): Pick<Standing, "status" | "words"> {
  const exposed = decisions.exposed.get(name);
  if (exposed !== undefined) return { status: "exposed", words: [...exposed] };
  for (const status of ["hidden", "handled"] as const) {
    const reason = entryOf(ledger[status], name, parent.typeName);
    if (reason !== undefined) return { status, words: [reason] };
  }
  const used = decisions.used.get(name) ?? (answered ? undefined : decisions.set.get(name));
  return used === undefined ? { status: "undecided", words: [] } : { status: "used", words: [...used] };
}

/** The messages and enums that something looks into: methods, and fields that are exposed, used or handled. */
function reachedParents({ upstreams }: App, own: readonly Decided[]): ReadonlySet<Parent> {
  const methods = upstreams.flatMap((upstream) => upstream[declaration].service.methods);
  const open = own.flatMap(({ element: { field }, status }) =>
    field === undefined || status === "hidden" || status === "undecided" ? [] : (insideOf(field) ?? []),
  );
  return new Set([...methods.flatMap(({ input, output }) => [input, output]), ...open]);
}

/** The field without which nobody would see the inside of a message; an undecided one, if there are several. */
function holderOf(
  parent: Parent,
  holders: ReadonlyMap<Parent | undefined, readonly Decided[]>,
  reached: ReadonlySet<Parent>,
  seen: Set<Parent>,
): Decided | undefined {
  if (seen.has(parent)) return undefined;
  seen.add(parent);
  const found = (holders.get(parent) ?? []).flatMap((holder) => {
    const outer = holder.element.parent;
    const isInside = holder.status === "undecided" && !reached.has(outer);
    return (isInside ? holderOf(outer, holders, reached, seen) : holder) ?? [];
  });
  return found.find(({ status }) => status === "undecided") ?? found[0];
}

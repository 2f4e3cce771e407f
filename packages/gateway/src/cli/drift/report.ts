import type { App } from "../../application.ts";
import { type Decisions, decisionsOf } from "./decisions.ts";
import type { Ledger } from "./ledger.ts";
import { type Standing, standingsOf } from "./standings.ts";
import { type Element, surfaceOf } from "./surface.ts";
import { withNested } from "./views.ts";

/** An undecided field or value, with what would decide it. */
export interface Undecided {
  readonly name: string;
  /** The line for the ledger. */
  readonly ledgerLine: string;
  /** The command that exposes it, or what to do first. */
  readonly expose: string;
}

/** How an API stands to the internal services. */
export interface DriftReport {
  readonly standings: readonly Standing[];
  readonly undecided: readonly Undecided[];
  /** What is wrong with the ledger. */
  readonly problems: readonly string[];
}

/**
 * Compares what the internal services know with what an API and its ledger say about it.
 *
 * What is inside a field that is hidden, or undecided, goes with that field, unless something else leads there.
 */
export function reportDrift(app: App, ledger: Ledger): DriftReport {
  const surface = surfaceOf(app.upstreams);
  const decisions = decisionsOf(app);
  const standings = standingsOf(app, surface, decisions, ledger);
  return {
    standings,
    undecided: standings
      .filter(({ status, within }) => status === "undecided" && within === undefined)
      .flatMap(({ name }) => remedyOf(surface.get(name), app) ?? []),
    problems: ledgerProblems(ledger, surface, decisions),
  };
}

function remedyOf(element: Element | undefined, app: App): Undecided | undefined {
  if (element === undefined) return undefined;
  const { name } = element;
  return { name, ledgerLine: `${JSON.stringify(name)}: "<the reason>"`, expose: exposureOf(element, app) };
}

function exposureOf({ name, parent, field, answered }: Element, { views, requests }: App): string {
  if (field === undefined)
    return `give the public enum such a value, in a map of ${parent.typeName} that a view uses`;
  const candidates = withNested(views).filter(({ from }) => from.typeName === parent.typeName);
  const view = candidates.find(({ to }) => to.name === parent.name) ?? candidates[0];
  if (answered && view !== undefined) return `portico expose ${name} --as ${view.to.typeName}.${field.name}`;
  const [map] = withNested(requests).filter(({ to }) => to.typeName === parent.typeName);
  if (!answered && map !== undefined)
    return `add a field to ${map.from.typeName}: its request map takes one of the same name and type by itself`;
  return `write a ${answered ? "view" : "request map"} of ${parent.typeName} first`;
}

/** What in a ledger says nothing any more, or the wrong thing. */
function ledgerProblems(
  ledger: Ledger,
  surface: ReadonlyMap<string, Element>,
  { exposed }: Decisions,
): string[] {
  return (["hidden", "handled"] as const).flatMap((kind) =>
    Object.keys(ledger[kind]).flatMap((entry) => {
      const covered = coveredBy(entry, surface);
      const where = exposed.get(entry);
      if (covered.length === 0)
        return [`${kind}: ${entry} is nothing that the internal services have: remove the line`];
      if (covered.every(({ name }) => exposed.has(name)))
        return [
          `${kind}: ${entry} is exposed${where === undefined ? "" : ` as ${[...where].join(", ")}`}: remove the line`,
        ];
      if (kind === "handled" && Object.hasOwn(ledger.hidden, entry))
        return [`${entry} is both hidden and handled: remove one of the lines`];
      return [];
    }),
  );
}

/** The elements that an entry of a ledger is about. */
export function coveredBy(entry: string, surface: ReadonlyMap<string, Element>): readonly Element[] {
  if (!entry.endsWith(".*")) return [surface.get(entry)].filter((element) => element !== undefined);
  const parent = entry.slice(0, -2);
  return [...surface.values()].filter((element) => element.parent.typeName === parent);
}

import type { DescMethod } from "@bufbuild/protobuf";
import type { App } from "../../application.ts";
import type { AnyLoader, LoaderWay } from "../../consolidation/loaders/loader.ts";
import type { FieldPlan } from "../../consolidation/views/source.ts";
import { isReadOnly } from "../../policy/method-policy.ts";
import type { MethodTable } from "../../policy/method-table.ts";
import { declaration } from "../../upstream/upstream.ts";
import { madeFields, withNested } from "../drift/views.ts";

/** What starts, but will hurt some day. */
export interface Warning {
  /** What it is about: a method, a field, a loader, an upstream. */
  readonly place: string;
  readonly problem: string;
  /** What to write instead. */
  readonly remedy: string;
}

/** Everything in an API that starts, but will hurt some day. */
export function warningsOf(app: App, methods: MethodTable): readonly Warning[] {
  return [
    ...relationWarnings(app),
    ...loadersOf(app).flatMap(loaderWarnings),
    ...[...methods.keys()].flatMap(listWarnings),
    ...app.upstreams.flatMap((upstream) => deadlineWarnings(upstream[declaration])),
    ...cacheWarnings(methods),
  ];
}

/** The loaders that an API names, and those that its views use. */
export function loadersOf(app: App): readonly AnyLoader[] {
  const used = withNested(app.views)
    .flatMap(madeFields)
    .flatMap(({ plan }) => loadersIn(plan));
  return [...new Set([...app.loaders, ...used])];
}

function loadersIn(plan: FieldPlan): readonly AnyLoader[] {
  return [
    ...(plan.loader === undefined ? [] : [plan.loader]),
    ...(plan.into === undefined ? [] : loadersIn(plan.into)),
  ];
}

function relationWarnings({ views }: App): Warning[] {
  return withNested(views)
    .flatMap(madeFields)
    .flatMap(({ name, plan }) =>
      loadersIn(plan)
        .filter(({ ways }) => ways[0]?.kind === "single")
        .map((loader) => ({
          place: name,
          problem: `is fetched by ${loader.name}, one call for each key`,
          remedy: `give the loader a batch: { ... } with a method that answers many keys at once`,
        })),
    );
}

function loaderWarnings(loader: AnyLoader): Warning[] {
  const { ways, cache } = loader;
  const warnings: Warning[] = [];
  if (ways[0]?.kind === "all")
    warnings.push({
      place: loader.name,
      problem: "fetches the whole list for a few keys",
      remedy:
        "give it a batch: { ... } as well, and keep the whole list for services that have no such method",
    });
  for (const way of ways.filter((way) => isUnbounded(way, loader)))
    warnings.push({
      place: `${way.upstream[declaration].name}.${way.method.localName}`,
      problem: `is read by ${loader.name} in one answer, however long the list`,
      remedy: "page the method (AIP-158), and give the loader nextPageToken",
    });
  const changing = changingMethods(ways);
  if (cache !== undefined && cache.forget === undefined && changing.length > 0)
    warnings.push({
      place: loader.name,
      problem: "keeps entities, and learns of no change before their time is over",
      remedy: `write which keys a change makes stale: forget: { ${changing[0]}: (response, request) => [...] }`,
    });
  return warnings;
}

function isUnbounded({ kind, paged }: LoaderWay, { many }: AnyLoader): boolean {
  return !paged && (kind === "all" || many);
}

/** The methods, by their local names, by which an entity may change. */
function changingMethods(ways: readonly LoaderWay[]): string[] {
  return ways
    .slice(0, 1)
    .flatMap(({ upstream }) =>
      upstream[declaration].service.methods
        .filter((method) => method.methodKind === "unary" && !isReadOnly(method))
        .map(({ localName }) => localName),
    );
}

/** A batch method (AIP-231) answers as many as it is asked for. */
function listWarnings(method: DescMethod): Warning[] {
  const { input, output, name, methodKind } = method;
  if (methodKind !== "unary" || name.startsWith("Batch")) return [];
  if (input.fields.some((field) => field.name === "page_size")) return [];
  return output.fields
    .filter((field) => field.fieldKind === "list" && field.listKind === "message")
    .map((field) => ({
      place: `${method.parent.typeName}.${name}`,
      problem: `answers all ${field.name} at once, however many there are`,
      remedy: `page it (AIP-158): int32 page_size and string page_token in ${input.name}, next_page_token in ${output.name}`,
    }));
}

function deadlineWarnings({
  name,
  hasOwnTimeout,
}: {
  readonly name: string;
  readonly hasOwnTimeout: boolean;
}): Warning[] {
  if (hasOwnTimeout) return [];
  return [
    {
      place: `upstream ${name}`,
      problem: "has no timeoutMs of its own, so that a call to it may take 5 seconds",
      remedy: "write how long it may take at the most: upstream(..., { timeoutMs: 800 })",
    },
  ];
}

/** How long an answer may be out of date without anyone thinking about it, in milliseconds. */
const longMs = 60_000;

function cacheWarnings(methods: MethodTable): Warning[] {
  const entries = [...methods.values()];
  const changing = new Set(entries.filter(({ mutates }) => mutates).map(({ method }) => method.parent));
  return entries.flatMap(({ method, cache }) => {
    if (cache === undefined || cache.ttlMs <= longMs || !changing.has(method.parent)) return [];
    return [
      {
        place: `${method.parent.typeName}.${method.name}`,
        problem: `has answers that are kept for ${cache.ttlMs / 1_000} s, while other methods of its service change what they say`,
        remedy: "make cache.ttl a minute at the most: no kept answer is forgotten before its time",
      },
    ];
  });
}

import type { DescMessage, DescMethod, DescMethodUnary, Message } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { type AnyUpstream, declaration } from "../../upstream/upstream.ts";
import { type CompiledPath, compilePath } from "../views/path.ts";
import { type Member, membersOf } from "../views/shape.ts";
import { compileKey, type ReadKey } from "./key.ts";
import type { AnyMethod, Listing } from "./pages.ts";

/** One way in which a loader fetches, as data: to be listed, checked and drawn. */
export interface LoaderWay {
  /** By many keys at once, by one call a key, or the whole list. */
  readonly kind: "batch" | "single" | "all";
  readonly upstream: AnyUpstream;
  readonly method: DescMethodUnary;
  /** The path to the entities, or to the entity, in the answer. */
  readonly items: string;
  /** The paths to the parts of the key in an entity; none where the answer is known to be that of the key. */
  readonly key: readonly string[];
  /** The most keys of one call. */
  readonly max?: number;
  /** The path to the token of the next page. */
  readonly nextPageToken?: string;
  readonly paged: boolean;
}

/** A way as it is declared, whatever its kind. The compiler has checked that the parts fit each other. */
export interface WayOptions {
  readonly method: string;
  readonly request?: unknown;
  /** `item`, for a way that answers with one entity. */
  readonly items: string;
  readonly key?: string | readonly string[];
  readonly max?: number;
  readonly concurrency?: number;
  readonly nextPageToken?: string;
}

/** A way whose parts were found, and fit. */
export interface CompiledWay {
  readonly way: LoaderWay;
  readonly entity: DescMessage;
  readonly listing: Listing;
  /** Reads the key of an entity; `undefined` if nobody asks. */
  readonly readKey: ReadKey | undefined;
}

/**
 * Finds the parts of a way. Adds to the problems what is not there or does not fit, each with what would.
 *
 * @param oneItem whether `items` leads to one entity, which its option then calls `item`
 */
export function compileWay(
  upstream: AnyUpstream,
  kind: LoaderWay["kind"],
  options: WayOptions,
  oneItem: boolean,
  problems: string[],
): CompiledWay | undefined {
  const { name, service } = upstream[declaration];
  const method = service.methods.find(({ localName }) => localName === options.method);
  if (method === undefined || !isUnary(method)) {
    const unary = service.methods.filter(isUnary).map(({ localName }) => localName);
    problems.push(
      `${kind}.method: ${service.typeName} has no unary method ${options.method}: write one of ${unary.join(", ")}`,
    );
    return undefined;
  }
  const itemsName = `${kind}.${oneItem ? "item" : "items"}`;
  const items = compileEnd(method.output, options.items, itemsName, oneItem ? anEntity : entities, problems);
  const entity = items?.end.kind === "field" ? items.end.field.message : undefined;
  const readKey = entity && options.key !== undefined ? compileKey(entity, options.key) : undefined;
  if (typeof readKey === "string") problems.push(`${kind}.key: ${readKey}`);
  const { nextPageToken: token } = options;
  const tokenName = `${kind}.nextPageToken`;
  const next = token === undefined ? undefined : compileEnd(method.output, token, tokenName, aText, problems);
  problems.push(...countProblems(kind, options), ...pageProblems(kind, method, options));
  if (items === undefined || entity === undefined || typeof readKey === "string") return undefined;
  return {
    way: describe(upstream, kind, method, options),
    entity,
    listing: {
      name: `${name}.${options.method}`,
      // The upstream has a function for each unary method of its service.
      method: (upstream as unknown as Readonly<Record<string, AnyMethod>>)[options.method] as AnyMethod,
      items: (response) => listed(items.read(response)),
      nextPageToken: (response) => String(next?.read(response) ?? ""),
    },
    readKey,
  };
}

function describe(
  upstream: AnyUpstream,
  kind: LoaderWay["kind"],
  method: DescMethodUnary,
  { items, key = [], max, nextPageToken }: WayOptions,
): LoaderWay {
  return {
    kind,
    upstream,
    method,
    items,
    key: typeof key === "string" ? [key] : key,
    ...(max !== undefined && { max }),
    ...(nextPageToken !== undefined && { nextPageToken }),
    paged: nextPageToken !== undefined,
  };
}

/** What an option must lead to. */
interface Kind {
  readonly text: string;
  readonly is: (end: Member) => boolean;
}

const entities: Kind = {
  text: "list of messages",
  is: (end) => end.kind === "field" && end.field.fieldKind === "list" && end.field.listKind === "message",
};
const anEntity: Kind = {
  text: "message",
  is: (end) => end.kind === "field" && end.field.fieldKind === "message",
};
const aText: Kind = {
  text: "text",
  is: (end) =>
    end.kind === "field" && end.field.fieldKind === "scalar" && end.field.scalar === ScalarType.STRING,
};

function compileEnd(
  desc: DescMessage,
  path: string,
  option: string,
  { text, is }: Kind,
  problems: string[],
): CompiledPath | undefined {
  const compiled = compilePath(desc, path);
  if (typeof compiled !== "string" && is(compiled.end)) return compiled;
  const problem = typeof compiled === "string" ? compiled : `${path} is no ${text}`;
  const names = membersOf(desc)
    .filter(is)
    .map(({ localName }) => `"${localName}"`);
  problems.push(
    `${option}: ${problem}: write the path to a ${text}${names.length > 0 ? `, such as ${names.join(", ")}` : ""}`,
  );
  return undefined;
}

function countProblems(kind: string, { max, concurrency }: WayOptions): string[] {
  return Object.entries({ max, concurrency }).flatMap(([name, count]) =>
    count === undefined || (Number.isInteger(count) && count > 0)
      ? []
      : [`${kind}.${name} must be a positive whole number, got ${count}`],
  );
}

/** Without a request of its own, a whole list is asked for its pages by the name that they have by convention. */
function pageProblems(
  kind: string,
  { input }: DescMethodUnary,
  { request, nextPageToken }: WayOptions,
): string[] {
  if (request !== undefined || nextPageToken === undefined || "pageToken" in input.field) return [];
  return [`${kind}.request is needed to ask for further pages, as ${input.typeName} has no page_token`];
}

/** One, several or none, as a list. */
function listed(value: unknown): readonly Message[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value as Message];
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

import type { DescEnum, DescField, DescMessage } from "@bufbuild/protobuf";
import { protoCamelCase, safeObjectProperty } from "@bufbuild/protobuf/reflect";
import type { App } from "../../application.ts";
import { enumText, inWords } from "./enum.ts";
import type { Change } from "./files.ts";
import { addAfterMessage, addImport, addToMessage, commentOf, commentText } from "./proto.ts";
import { ExposeError, type Route, routesTo } from "./route.ts";
import { type FoundCall, findCalls, type Source } from "./sources.ts";
import { declarationOf, nextNumber } from "./type.ts";
import { type PublicValue, publicValueOf } from "./value.ts";
import { addToView, entryText, type NewEntry, relationLike } from "./view.ts";

/** What is to be exposed, and as what. */
export interface Exposure {
  readonly app: App;
  /** The internal field. */
  readonly origin: DescField;
  /** The public message, and the name of its new field. */
  readonly message: DescMessage;
  readonly name: string;
  /** The permission that callers need to read it. */
  readonly permission: string | undefined;
}

/** What is read for it. */
export interface Sources {
  /** The proto file of the public message. */
  readonly publicProto: Source;
  /** That of the internal field, and of the enum that it may hold. */
  readonly internalProto: Source;
  readonly enumProto: Source | undefined;
  /** The sources of the API. */
  readonly app: readonly Source[];
}

/** What is to be written. */
export interface ExposePlan {
  readonly changes: readonly Change[];
  /** What is declared in the public proto, for people. */
  readonly declared: string;
  /** The entries of views, for people. */
  readonly entries: readonly string[];
}

/**
 * Works out everything that exposing a field takes, and writes nothing.
 *
 * Throws an {@link ExposeError} if any part of it cannot be done: with what to write by hand, where that can be told.
 */
export function planExposure(exposure: Exposure, sources: Sources): ExposePlan {
  const { app, origin, message, name, permission } = exposure;
  const value = publicValueOf(app, origin, message);
  const number = nextNumber(message);
  if (number === undefined)
    throw new ExposeError(
      `${message.typeName} has no number left above those that it uses or reserves: write the field by hand, with a number that it never had`,
    );
  const comment = commentOf(sources.internalProto.text, origin.parent, origin);
  const declared = `${commentText(comment.length > 0 ? comment : [inWords(name)])}${declarationOf(message, origin, { name, number, type: value.type, permission })}`;
  const routes = routesTo(app, origin, message);
  const local = safeObjectProperty(protoCamelCase(name));
  const entries = routes
    .filter(
      (route) =>
        // The compiler cannot tell enums from each other, so that none is copied without an entry.
        value.kind !== "copied" ||
        origin.enum !== undefined ||
        route.like !== undefined ||
        route.path !== local,
    )
    .map((route) => ({ route, ...locate(route, local, value, exposure, sources) }));
  return {
    declared,
    entries: entries.map(({ entry }) => entryText(entry)),
    changes: [
      { path: sources.publicProto.path, after: withField(exposure, sources, value, declared) },
      ...changedViews(entries, sources.app, declared),
    ],
  };
}

interface PlacedEntry {
  readonly route: Route;
  readonly call: FoundCall;
  readonly entry: NewEntry;
}

function locate(
  route: Route,
  local: string,
  value: PublicValue,
  { message, permission }: Exposure,
  { app }: Sources,
): Omit<PlacedEntry, "route"> {
  const { from, to } = route.view;
  const calls = findCalls(app, "view", from, to);
  const [call] = calls;
  const source = sourceCode(value, route.path, message, app);
  const code = route.like === undefined ? source.code : call && relationLike(call, route.like, source.code);
  if (call === undefined || calls.length > 1 || code === undefined)
    throw new ExposeError(
      `It cannot be told for sure where the view of ${from.typeName} as ${to.typeName} stands in the sources of the API. ` +
        `Write by hand, into its fields:\n  ${local}: ${code ?? `related(..., ${source.code}, ...), as for ${route.like}`}\n` +
        `and into ${to.typeName} the field${permission === undefined ? "" : ` with permission ${permission}`}`,
    );
  return { call, entry: { name: local, ...source, code } };
}

/** The code that makes the new field of what stands at a path. */
function sourceCode(
  value: PublicValue,
  path: string,
  message: DescMessage,
  sources: readonly Source[],
): Omit<NewEntry, "name"> {
  const quoted = JSON.stringify(path);
  switch (value.kind) {
    case "copied":
      return { code: quoted, calls: [], constants: [], map: undefined };
    case "viewed":
      return wrapped("nested", constantOf(sources, "view", value.view), quoted);
    case "mapped":
      return wrapped("mapped", constantOf(sources, "enumByName", value), quoted);
    case "to map": {
      const map = { name: `public${value.to}`, from: value.from, to: value.to, file: message.file };
      return { code: `mapped(${map.name}, ${quoted})`, calls: ["mapped"], constants: [], map };
    }
  }
}

function wrapped(
  call: string,
  constant: NewEntry["constants"][number],
  path: string,
): Omit<NewEntry, "name"> {
  return { code: `${call}(${constant.name}, ${path})`, calls: [call], constants: [constant], map: undefined };
}

/** The constant that holds a view, or an enum map. */
function constantOf(
  sources: readonly Source[],
  callee: string,
  { from, to }: { readonly from: DescMessage | DescEnum; readonly to: DescMessage | DescEnum },
): NewEntry["constants"][number] {
  const [found, ...others] = findCalls(sources, callee, from, to);
  if (found?.name === undefined || others.length > 0)
    throw new ExposeError(
      `It cannot be told for sure which constant holds ${callee}(...) of ${from.typeName} as ${to.typeName}: write the field, and its entry in the view, by hand`,
    );
  return { name: found.name, path: found.source.path };
}

/** The public proto with the field, the imports that it needs and, where there is none, its enum. */
function withField(
  { message, permission }: Exposure,
  { publicProto, enumProto }: Sources,
  value: PublicValue,
  declared: string,
): string {
  const added = addToMessage(publicProto.text, message, declared);
  const withEnum =
    added !== undefined && value.kind === "to map" && !value.exists
      ? addAfterMessage(added, message, enumText(value.from, value.to, enumProto?.text ?? ""))
      : added;
  if (withEnum === undefined)
    throw new ExposeError(
      `${publicProto.path} has no message ${message.name}: write the field by hand:\n${declared}`,
    );
  const imports = [permission && "portico/v1/policy.proto", value.type.file];
  return imports.reduce<string>((text, path) => (path ? addImport(text, path) : text), withEnum);
}

/** A source that has several of the views is changed by all of them. */
function changedViews(
  entries: readonly PlacedEntry[],
  sources: readonly Source[],
  declared: string,
): Change[] {
  const byPath = Map.groupBy(entries, ({ call }) => call.source.path);
  return sources.flatMap((source) => {
    const own = byPath.get(source.path);
    if (own === undefined) return [];
    const text = own.reduce((text, { route, entry }) => {
      const { from, to } = route.view;
      const [call] = findCalls([{ ...source, text }], "view", from, to);
      const added = call && addToView(call, entry);
      if (added === undefined)
        throw new ExposeError(
          `It cannot be told for sure how ${source.path} is to change. Write by hand, into its view of ${from.typeName} as ` +
            `${to.typeName}:\n  ${entryText(entry)}\nand into ${to.typeName}:\n${declared}`,
        );
      return added;
    }, source.text);
    return [{ path: source.path, after: text }];
  });
}

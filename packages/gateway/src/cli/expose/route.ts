import type { DescField, DescMessage } from "@bufbuild/protobuf";
import type { App } from "../../application.ts";
import type { Convertible } from "../../consolidation/views/source.ts";
import { withNested } from "../drift/views.ts";

/** How a view gets at an internal field. */
export interface Route {
  readonly view: Convertible;
  /** The path to the field, in the names of TypeScript: in the message of the view, or in the entity of a relation. */
  readonly path: string;
  /** A field of the view that is taken from the same entity, by its local name; absent if the view has the field itself. */
  readonly like: string | undefined;
}

/** Cannot be exposed as it is: says why, and what to do. Nothing was changed. */
export class ExposeError extends Error {
  override readonly name = "ExposeError";
}

/**
 * How each view that makes a public message gets at an internal field: all of them must, or the others would have a gap.
 *
 * Throws an {@link ExposeError} if one of them cannot, or could in several ways.
 */
export function routesTo(app: App, origin: DescField, message: DescMessage): readonly Route[] {
  refuseRequests(app, message, origin.localName);
  const views = withNested(app.views).filter(({ to }) => to.typeName === message.typeName);
  if (views.length === 0)
    throw new ExposeError(
      `No view makes ${message.typeName}, so that nothing can give it the field. ${viewsOf(app, origin.parent)}`,
    );
  return views.map((view) => routeOf(view, origin));
}

/** A field that callers can read must not become one that they can write, by a map that copies what is called the same. */
function refuseRequests(app: App, message: DescMessage, localName: string): void {
  const map = withNested(app.requests).find(({ from }) => from.typeName === message.typeName);
  if (map !== undefined)
    throw new ExposeError(
      `${message.typeName} is also what callers send, and ${map.to.typeName} is made of it. Declare the field by hand, and say ` +
        `in that request map what becomes of what callers write into it: handled: ["${localName}"] takes no notice of it`,
    );
}

function routeOf(view: Convertible, origin: DescField): Route {
  const direct = shortest(pathsTo(view.from, origin)).map((path) => ({ view, path, like: undefined }));
  const routes = direct.length > 0 ? direct : relatedRoutes(view, origin);
  const [route] = routes;
  if (route === undefined)
    throw new ExposeError(
      `${view.to.typeName} is made of ${view.from.typeName}, and neither that nor a relation of its view leads to ` +
        `${origin.parent.typeName}. Write the relation first: related(loader, key, "${origin.localName}", { onMissing: ... })`,
    );
  if (routes.length > 1)
    throw new ExposeError(
      `${view.to.typeName} could take ${origin.name} from ${routes.map(({ path }) => path).join(" or ")} of ` +
        `${view.from.typeName}: write the field and its entry in the view by hand`,
    );
  return route;
}

function relatedRoutes(view: Convertible, origin: DescField): Route[] {
  const found = Object.entries(view.fields).flatMap(([like, { kind, loader }]) =>
    kind === "related" && loader !== undefined && !loader.many
      ? shortest(pathsTo(loader.entity, origin)).map((path) => ({ view, path, like, loader }))
      : [],
  );
  // Several fields are taken by one loader: any of them is a model.
  return found.filter(({ loader, path }, index) =>
    found.slice(0, index).every((other) => other.loader !== loader || other.path !== path),
  );
}

/** The paths through single messages, three fields deep at the most, as sources may be. */
function pathsTo(desc: DescMessage, origin: DescField, depth = 3): string[] {
  const own = desc.typeName === origin.parent.typeName ? [memberPath(origin)] : [];
  if (depth === 1) return own;
  return [
    ...own,
    ...desc.fields.flatMap((field) =>
      field.fieldKind === "message" && field.oneof === undefined
        ? pathsTo(field.message, origin, depth - 1).map((path) => `${field.localName}.${path}`)
        : [],
    ),
  ];
}

function memberPath({ oneof, localName }: DescField): string {
  return oneof === undefined ? localName : `${oneof.localName}.${localName}`;
}

function shortest(paths: readonly string[]): readonly string[] {
  const lengths = paths.map((path) => path.split(".").length);
  return paths.filter((path) => path.split(".").length === Math.min(...lengths));
}

function viewsOf(app: App, from: DescMessage): string {
  const made = withNested(app.views).filter((view) => view.from.typeName === from.typeName);
  if (made.length === 0) return `Write a view of ${from.typeName} first`;
  return `Views of ${from.typeName} make ${made.map(({ to }) => to.typeName).join(", ")}`;
}

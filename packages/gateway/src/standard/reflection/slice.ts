import type { DescFile, DescMessage } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import type { PublicService } from "../../service.ts";
import { forEachAudience, type VisibleService, visibleTo } from "../visible.ts";
import { type Reach, reachOf } from "./reach.ts";
import { type ServedFile, serveFile } from "./served-file.ts";

/** The part of the API that there is for one audience. */
export interface Slice {
  /** The full names of the services. */
  readonly services: readonly string[];
  /** Its files, by their names. */
  readonly files: ReadonlyMap<string, ServedFile>;
  /** The name of the file that declares a symbol, by its full name. */
  readonly symbols: ReadonlyMap<string, string>;
  /** The full names of the messages among them. */
  readonly messages: ReadonlySet<string>;
}

/**
 * Cuts the API for each audience. Audiences that may see the same share one slice.
 *
 * @param extra messages that are served to everyone, although no method mentions them
 */
export function createSlices(services: readonly PublicService[], extra: readonly DescMessage[]) {
  const all = services.flatMap(({ desc }) => desc.methods).length;
  const made = new Map<string, Slice>();
  return forEachAudience((audience) => {
    const visible = visibleTo(audience, services);
    const methods = visible.flatMap((service) => service.methods);
    const key = methods.map(({ parent, name }) => `${parent.typeName}/${name}`).join();
    const slice = made.get(key) ?? cut(visible, extra, methods.length === all);
    made.set(key, slice);
    return slice;
  });
}

function cut(services: readonly VisibleService[], extra: readonly DescMessage[], seesAll: boolean): Slice {
  const reach = reachOf(services, extra, seesAll);
  const files = Array.from(reach.files, (file) => serveFile(file, reach));
  return {
    services: services.map(({ desc }) => desc.typeName).sort(),
    files: new Map(files.map((file) => [file.name, file])),
    symbols: new Map([...reach.files].flatMap((file) => symbolsOf(file, reach))),
    messages: new Set(
      [...reach.types].filter(({ kind }) => kind === "message").map(({ typeName }) => typeName),
    ),
  };
}

/** The full name of everything in a file that has one. */
function symbolsOf(file: DescFile, reach: Reach): [symbol: string, file: string][] {
  const types = [...nestedTypes(file)].flatMap((type) => {
    if (type.kind === "message" && reach.types.has(type))
      return [
        type.typeName,
        ...[...type.fields, ...type.oneofs].map(({ name }) => `${type.typeName}.${name}`),
      ];
    if (type.kind !== "enum" || !reach.types.has(type)) return [];
    // The values of an enum are names beside it, not within.
    const scope = type.typeName.slice(0, -type.name.length);
    return [type.typeName, ...type.values.map(({ name }) => `${scope}${name}`)];
  });
  const services = reach.services
    .filter(({ desc }) => desc.file === file)
    .flatMap(({ desc, methods }) => [
      desc.typeName,
      ...methods.map(({ name }) => `${desc.typeName}.${name}`),
    ]);
  return [...types, ...services].map((symbol) => [symbol, file.proto.name]);
}

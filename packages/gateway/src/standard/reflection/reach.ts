import type { DescEnum, DescFile, DescMessage } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { messagesIn } from "../../descriptors.ts";
import type { VisibleService } from "../visible.ts";

/** A type that messages are made of. */
export type DataType = DescMessage | DescEnum;

/** What an audience may see. */
export interface Reach {
  readonly services: readonly VisibleService[];
  /** The messages and enums: each with all that it is made of. */
  readonly types: ReadonlySet<DataType>;
  /** The files that these are declared in. */
  readonly files: ReadonlySet<DescFile>;
}

/**
 * Finds what an audience may see: its methods, what they take and give, and all that these are made of.
 *
 * Types that no method mentions, such as what a `google.protobuf.Any` holds, belong to it only if there is no method that
 * it may not see, since they may be made for that one; and only if something else of their file does.
 *
 * @param services what the audience may see of the services
 * @param extra messages that are not mentioned by methods, but sent all the same: the details of errors
 * @param seesAll whether there is no method besides
 */
export function reachOf(
  services: readonly VisibleService[],
  extra: readonly DescMessage[],
  seesAll: boolean,
): Reach {
  const mentioned = services.flatMap(({ methods }) =>
    methods.flatMap(({ input, output }) => [input, output]),
  );
  const found = grow([...mentioned, ...extra]);
  const serviceFiles = services.map(({ desc }) => desc.file);
  const whole = filesOf(found, serviceFiles).filter((file) => seesAll || isWellKnown(file));
  const types = grow([...found, ...whole.flatMap(typesIn)]);
  return { services, types, files: new Set(filesOf(types, serviceFiles)) };
}

/** Some types, and all that they are made of. */
function grow(types: readonly DataType[]): Set<DataType> {
  const messages = messagesIn(types.filter((type) => type.kind === "message"));
  const enums = [...messages].flatMap(({ fields }) => fields.flatMap((field) => field.enum ?? []));
  return new Set([...types, ...messages, ...enums]);
}

function filesOf(types: Iterable<DataType>, others: readonly DescFile[]): DescFile[] {
  return [...new Set([...Array.from(types, ({ file }) => file), ...others])];
}

function typesIn(file: DescFile): DataType[] {
  return [...nestedTypes(file)].filter((type) => type.kind === "message" || type.kind === "enum");
}

/** Files that everybody has a copy of: those who compare it with ours shall find them to be the same. */
function isWellKnown({ proto }: DescFile): boolean {
  return ["google.protobuf", "google.rpc", "google.type"].includes(proto.package);
}

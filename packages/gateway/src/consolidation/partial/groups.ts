import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { PublicError } from "../../errors.ts";
import {
  type MissingPart,
  MissingPartSchema,
  type PartialResult,
  PartialResultSchema,
} from "../../gen/portico/api/v1/partial_result_pb.ts";
import { type Reason, reasons } from "../../reasons.ts";
import { createSubscripts, type PartPath, type Subscripts } from "./path.ts";

/**
 * What is missing, told in few words. What one field lacks in many messages for one reason is a group, whose path has the
 * indices of them all. What takes too much room is told with less detail, and with the same counts: first without the
 * indices, at last without the field.
 */
export interface PartialGroups {
  /** Adds one field. The indices of a list must come in ascending order. */
  readonly add: (path: PartPath, error: PublicError) => void;
  /** What was added; `undefined` if nothing was. */
  readonly result: () => PartialResult | undefined;
}

/** What the encoded message may take: it is sent in a header, for which many servers and clients have 8 KiB in all. */
const defaultMaxBytes = 4_096;

/** What one reason kept from one field, wherever it stands. */
interface Kind {
  readonly reason: Reason;
  /** The path without indices: `orders[*].note`, or `*` once there was no room for fields. */
  readonly wide: string;
  message: string;
  retryAfterMs: number | undefined;
  /** By what stands around the last index. */
  groups: Map<string, Group>;
}

interface Group {
  readonly before: string;
  readonly after: string;
  /** `undefined` if the path has no index to list. */
  readonly subscripts: Subscripts | undefined;
  count: number;
}

/** Creates the groups of one answer, or of one stream. Takes no more memory than `maxBytes` are worth. */
export function createPartialGroups(maxBytes = defaultMaxBytes): PartialGroups {
  const kinds = new Map<string, Kind>();
  return {
    add: (path, error) => {
      const kind = kindOf(kinds, path.wide, error);
      note(kind, error);
      addTo(kind, path);
      shrink(kinds, maxBytes);
    },
    result: () => {
      if (kinds.size === 0) return undefined;
      return create(PartialResultSchema, { missing: [...kinds.values()].flatMap(partsOf) });
    },
  };
}

/** How many fields are missing. */
export function countMissing({ missing }: PartialResult): number {
  return missing.reduce((sum, { count }) => sum + count, 0);
}

function kindOf(kinds: Map<string, Kind>, wide: string, { reason, rawMessage }: PublicError): Kind {
  const known = kinds.get(`${reason} *`) ?? kinds.get(`${reason} ${wide}`);
  if (known !== undefined) return known;
  const kind = { reason, wide, message: shortened(rawMessage), retryAfterMs: undefined, groups: new Map() };
  kinds.set(`${reason} ${wide}`, kind);
  return kind;
}

/** Words that fit one of the errors alone would be wrong of the others. */
function note(kind: Kind, { rawMessage, options: { retryAfterMs } }: PublicError): void {
  if (kind.message !== shortened(rawMessage)) kind.message = reasons[kind.reason].message;
  if (retryAfterMs !== undefined) kind.retryAfterMs = Math.max(kind.retryAfterMs ?? 0, retryAfterMs);
}

function shortened(message: string): string {
  return message.slice(0, 200).toWellFormed();
}

function addTo(kind: Kind, { before, after, last }: PartPath): void {
  const { wide, groups } = kind;
  const key = last === undefined || isWide(kind) ? wide : `${before}*${after}`;
  let group = groups.get(key);
  if (group === undefined) {
    group = { before, after, subscripts: last && createSubscripts(), count: 0 };
    groups.set(key, group);
  }
  group.count += 1;
  if (last !== undefined) group.subscripts?.add(last);
}

/** Takes detail away where it takes the most room, until all fits. */
function shrink(kinds: Map<string, Kind>, maxBytes: number): void {
  while (sizeOf([...kinds.values()]) > maxBytes) {
    const all = [...kinds.values()].sort((a, b) => sizeOf([b]) - sizeOf([a]));
    const detailed = all.find((kind) => !isWide(kind));
    const [largest] = all.filter(({ wide }) => wide !== "*");
    if (detailed !== undefined) widen(detailed);
    else if (largest !== undefined) merge(kinds, largest.reason);
    // Every reason of the catalogue, without fields: it cannot become less.
    else return;
  }
}

/** Whether there is no detail left to take away. */
function isWide({ wide, groups }: Kind): boolean {
  const group = groups.get(wide);
  return group !== undefined && group.subscripts === undefined;
}

function widen(kind: Kind): void {
  const [only, ...others] = kind.groups.values();
  const isDetailed = only?.subscripts !== undefined && others.length === 0;
  const path = isDetailed ? `${only.before}*${only.after}` : kind.wide;
  kind.groups = new Map([[path, blurred(path, [...kind.groups.values()])]]);
}

function merge(kinds: Map<string, Kind>, reason: Reason): void {
  const merged = [...kinds.values()].filter((kind) => kind.reason === reason);
  for (const { wide } of merged) kinds.delete(`${reason} ${wide}`);
  const delays = merged.flatMap(({ retryAfterMs }) => retryAfterMs ?? []);
  const groups = merged.flatMap(({ groups }) => [...groups.values()]);
  kinds.set(`${reason} *`, {
    reason,
    wide: "*",
    message: reasons[reason].message,
    retryAfterMs: delays.length === 0 ? undefined : Math.max(...delays),
    groups: new Map([["*", blurred("*", groups)]]),
  });
}

function blurred(path: string, groups: readonly Group[]): Group {
  return {
    before: path,
    after: "",
    subscripts: undefined,
    count: groups.reduce((sum, { count }) => sum + count, 0),
  };
}

/** The tags and lengths of an entry, its code, its count and its delay, at the most. */
const entryBytes = 64;

function sizeOf(kinds: readonly Kind[]): number {
  let size = 0;
  for (const { reason, message, groups } of kinds) {
    for (const { before, after, subscripts } of groups.values())
      size +=
        entryBytes + Buffer.byteLength(before + after + message) + reason.length + (subscripts?.bytes() ?? 0);
  }
  return size;
}

function partsOf({ reason, message, retryAfterMs, groups }: Kind): MissingPart[] {
  return [...groups.values()].map(({ before, after, subscripts, count }) =>
    create(MissingPartSchema, {
      path: `${before}${subscripts?.text() ?? ""}${after}`,
      count: Math.min(count, 2 ** 32 - 1),
      code: codeToString(reasons[reason].code),
      reason,
      message,
      retryable: retryable.has(reason),
      ...(retryAfterMs !== undefined && { retryDelay: durationFromMs(retryAfterMs) }),
    }),
  );
}

/** What can pass by itself. */
const retryable: ReadonlySet<Reason> = new Set<Reason>([
  "SERVICE_BUSY",
  "SERVICE_UNAVAILABLE",
  "SERVICE_TIMEOUT",
  "CONFLICT",
  "RATE_LIMIT_EXCEEDED",
  "CREDENTIALS_UNVERIFIABLE",
]);

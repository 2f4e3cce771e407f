import { isReflectMessage } from "@bufbuild/protobuf/reflect";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import type { FieldRules } from "../../gen/buf/validate/validate_pb.ts";
import { isIgnored } from "./ruled.ts";

/** How large something may be, by its rules. */
export interface Limit {
  /** Items, entries, or what {@link lengthOf} counts. */
  readonly most: number;
  /** As protovalidate says it. */
  readonly description: string;
}

/** The limit of how many items a list has, or entries a map. */
export function countLimit({ type }: FieldRules): Limit | undefined {
  switch (type.case) {
    case "repeated":
      return limit(type.value.maxItems, 1, (most) => `must contain no more than ${most} item(s)`);
    case "map":
      return limit(type.value.maxPairs, 1, (most) => `must have at most ${most} entries`);
    default:
      return undefined;
  }
}

/** The limit of the length of a text or bytes. */
export function lengthLimit(rules: FieldRules | undefined): Limit | undefined {
  if (rules === undefined || isIgnored(rules)) return undefined;
  const { case: kind, value } = rules.type;
  switch (kind) {
    case "bytes":
      return (
        textLimit(value.len, 1, (most) => `must be ${most} bytes`) ??
        textLimit(value.maxLen, 1, (most) => `must be at most ${most} bytes`)
      );
    case "string":
      return (
        textLimit(value.len, 2, (most) => `must be ${most} characters`) ??
        textLimit(value.maxLen, 2, (most) => `must be at most ${most} characters`) ??
        textLimit(value.lenBytes, 1, (most) => `must be ${most} bytes`) ??
        textLimit(value.maxBytes, 1, (most) => `must be at most ${most} bytes`)
      );
    default:
      return undefined;
  }
}

/**
 * The bytes of a value, or the code units of a string; of a wrapper, those inside. The code units are up to twice the
 * characters, and at least a third of the bytes: what is near a limit is left to protovalidate. 0 for other values.
 */
export function lengthOf(value: unknown): number {
  if (typeof value === "string" || value instanceof Uint8Array) return value.length;
  if (!isReflectMessage(value) || !isWrapperDesc(value.desc)) return 0;
  return lengthOf(value.get(value.desc.fields[0]));
}

function limit(most: bigint, unit: number, describe: (most: bigint) => string): Limit | undefined {
  return most === 0n ? undefined : { most: Number(most) * unit, description: describe(most) };
}

/** A text that is a little too long takes no time, and is reported together with everything else. */
function textLimit(most: bigint, unit: number, describe: (most: bigint) => string): Limit | undefined {
  const exact = limit(most, unit, describe);
  return exact && { ...exact, most: Math.max(exact.most, 1_000) };
}

import { type DescField, type DescMessage, getOption, hasOption, type Message } from "@bufbuild/protobuf";
import { scalarZeroValue } from "@bufbuild/protobuf/reflect";
import { type FieldRules, field as fieldRules } from "../../gen/buf/validate/validate_pb.ts";
import { isPageSize, isPageToken } from "./answers.ts";
import type { Mint } from "./mint.ts";
import { makeUp } from "./values.ts";

/**
 * What a public request has, beside the largest page that there is: `full`, every field, with lists as long as they may
 * be; `short`, every field, with lists of one; `bare`, nothing else.
 */
export type RequestShape = "full" | "short" | "bare";

/** Makes up the request of a public call. The rules of validation decide how large it is; that it keeps them all is not sure. */
export function makeRequest(
  input: DescMessage,
  shape: RequestShape,
  mint: Pick<Mint<unknown>, "value">,
  rows: number,
): Message {
  return makeUp(input, {
    mint,
    sizeOf: (field) => (shape === "short" ? 1 : (mostItems(field) ?? rows)),
    isEmpty: (field, inList) =>
      !inList && (isPageToken(field) || isReadMask(field) || (shape === "bare" && !isPageSize(field))),
    given: (field, item) => (item === undefined ? largest(field) : undefined),
  });
}

/** Without it, everything is selected. */
function isReadMask({ name, message }: DescField): boolean {
  return name === "read_mask" && message?.typeName === "google.protobuf.FieldMask";
}

function mostItems(field: DescField): number | undefined {
  const type = rulesOf(field)?.type;
  if (type?.case === "repeated") return Number(type.value.maxItems) || undefined;
  return type?.case === "map" ? Number(type.value.maxPairs) || undefined : undefined;
}

/** The most that the rules allow for a number; for a page size without rules, the most that there is. */
function largest(field: DescField): unknown {
  const rules = rulesOf(field)?.type?.value;
  const limit = rules !== undefined && "lessThan" in rules ? rules.lessThan : undefined;
  // Dates and durations have such rules too.
  if (typeof limit?.value === "number") return limit.case === "lt" ? limit.value - 1 : limit.value;
  if (typeof limit?.value === "bigint") return limit.case === "lt" ? limit.value - 1n : limit.value;
  if (!isPageSize(field) || field.scalar === undefined) return undefined;
  return typeof scalarZeroValue(field.scalar, false) === "bigint" ? BigInt(largestInt32) : largestInt32;
}

const largestInt32 = 2 ** 31 - 1;

function rulesOf(field: DescField): FieldRules | undefined {
  return hasOption(field, fieldRules) ? getOption(field, fieldRules) : undefined;
}

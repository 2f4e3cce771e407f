import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { PublicError } from "../../errors.ts";
import type { PartialResult } from "../../gen/portico/api/v1/partial_result_pb.ts";
import type { Wanted } from "../selection/wanted.ts";
import { createPartialGroups } from "./groups.ts";
import { pathOf, type Step } from "./path.ts";
import { type Place, walkAnswer, wantedOf } from "./walk.ts";

/**
 * What the answer of one call lacks, although the call goes on: noted by the views that made the answer's messages, found
 * again in the answer, and told to the caller.
 */
export interface MissingParts {
  /**
   * Notes that a message could not be given one of its members.
   *
   * It is found again by its identity: what the answer is not made of, a copy for example, is not told.
   *
   * @param message the public message, as the answer will have it
   * @param member the local name of its field, or of its oneof
   * @param error why; its words are told to the caller, its cause to the log
   */
  readonly add: (message: Message, member: string, error: PublicError) => void;
  /** Finds what was noted in an answer, which from then on counts. Costs nothing if nothing was noted. */
  readonly locate: (answer: Message, place: AnswerPlace) => void;
  /** Takes over what another run found out about this call's answer, in place of what was located. */
  readonly adopt: (result: PartialResult | undefined) => void;
  /** What the answer lacks, or all messages of a stream so far; `undefined` if it is whole. */
  readonly result: () => PartialResult | undefined;
  /** Why the first of all that was located is missing, in full: for the log. */
  readonly cause: () => unknown;
}

/** What of an answer comes to the caller: the rest is not missing. */
export interface AnswerPlace {
  /** What the caller may not read. */
  readonly hidden: ReadonlySet<DescField>;
  /** What the caller selected; `undefined` if everything. */
  readonly wanted: Wanted | undefined;
  /** Which message of a stream it is, from 0; `undefined` for the answer of a unary call. */
  readonly index: number | undefined;
}

/** Starts without anything missing, for a call whose answers are of a type. */
export function createMissingParts(output: DescMessage): MissingParts {
  // A stream has no end: what is sent, or never was, is forgotten with the message itself.
  const noted = new WeakMap<Message, Map<string, PublicError>>();
  const types = new Set<string>();
  const groups = createPartialGroups();
  let first: PublicError | undefined;
  let adopted: PartialResult | undefined;
  return {
    add: (message, member, error) => {
      types.add(message.$typeName);
      const members = noted.get(message);
      if (members === undefined) noted.set(message, new Map([[member, error]]));
      else members.set(member, error);
    },
    locate: (answer, { hidden, wanted = "all", index }) => {
      if (types.size === 0) return;
      const start: readonly Step[] = index === undefined ? [] : [{ kind: "item", index }];
      const visit = (message: Message, place: Place, steps: readonly Step[]): void => {
        for (const [localName, error] of noted.get(message) ?? []) {
          const { name, fields } = memberOf(place.desc, localName);
          if (!fields.some((field) => !hidden.has(field) && wantedOf(place, field) !== undefined)) continue;
          first ??= error;
          groups.add(pathOf([...steps, { kind: "field", name }]), error);
        }
      };
      walkAnswer({ desc: output, answer, hidden, wanted, types, start, visit });
    },
    adopt: (result) => {
      adopted = result;
    },
    result: () => adopted ?? groups.result(),
    cause: () => first?.cause ?? first,
  };
}

function memberOf(desc: DescMessage, localName: string): { name: string; fields: readonly DescField[] } {
  const member = desc.members.find((member) => member.localName === localName);
  if (member === undefined)
    throw new Error(`${desc.typeName} has no field ${localName}, which was to be missing`);
  return { name: member.name, fields: member.kind === "oneof" ? member.fields : [member] };
}

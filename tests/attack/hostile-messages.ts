import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  getOption,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { StartError } from "../../packages/gateway/src/errors.ts";
import {
  method as methodOption,
  service as serviceOption,
} from "../../packages/gateway/src/gen/portico/v1/policy_pb.ts";
import { type Condition, compileCondition } from "../../packages/gateway/src/policy/conditions/condition.ts";
import { type Authenticated, anonymous } from "../../packages/gateway/src/policy/principal.ts";

// What rules of validation and conditions are tried with: messages of about 64 KiB that are as bad for them as can be.

/** The size of a hostile message. */
export const bytes = 64 * 2 ** 10;

/** The public services of this repository: the demo's and those of the tests. */
export async function publicServices(): Promise<DescService[]> {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const generated = ["packages/gateway/src/gen/smpl/api/**/*_pb.ts", "tests/gen/acme/api/**/*_pb.ts"];
  const modules: object[] = await Promise.all(
    globSync(generated, { cwd: root }).map((file) => import(`${root}${file}`)),
  );
  return modules
    .flatMap((module) => Object.values(module))
    .filter((value): value is DescService => value?.kind === "service");
}

/** The conditions of a method, its own and those of its service. */
export function conditionsOf(method: DescMethod): Condition[] {
  const sources = [getOption(method, methodOption), getOption(method.parent, serviceOption)].map(
    ({ condition }) => condition,
  );
  return sources.filter((source) => source !== "").flatMap((source) => compiled(source, method.input));
}

/** Some of the tests' policies are wrong on purpose: a gateway with them does not start. */
function compiled(source: string, input: DescMessage): Condition[] {
  try {
    return [compileCondition(source, input)];
  } catch (error) {
    if (error instanceof StartError) return [];
    throw error;
  }
}

const somebody: Authenticated = {
  kind: "token",
  id: "somebody",
  subject: "somebody",
  issuer: "https://identity.acme.example",
  tenant: "acme",
  roles: Array.from({ length: 100 }, (_, index) => `role-${index}`),
};

/** What is done with a message. */
export type Run = (message: Message) => unknown;

/** A condition, asked by nobody and by somebody. */
export function runsOf({ holds }: Condition): Run[] {
  return [anonymous, somebody].map(
    (principal) => (message) => holds(message, principal, { has: () => false }, 0),
  );
}

/** The input that takes the longest. The best of a few runs counts: what else the machine does is not of interest. */
export function worst(inputs: Iterable<Hostile>, runs: readonly Run[]): { ms: number; what: string } {
  let slowest = { ms: 0, what: "nothing" };
  for (const { what, message } of inputs) {
    for (const run of runs) {
      let ms = Infinity;
      for (let round = 0; round < 4 && ms > slowest.ms; round++) {
        const start = performance.now();
        run(message);
        ms = Math.min(ms, performance.now() - start);
      }
      if (ms > slowest.ms) slowest = { ms, what };
    }
  }
  return slowest;
}

/** A message that is to take long. */
export interface Hostile {
  /** What is large in it. */
  readonly what: string;
  readonly message: Message;
}

/** Messages of about 64 KiB: in each, one field is as bad as can be, or one in a message within. */
export function* hostileMessages(desc: DescMessage, depth = 2): Iterable<Hostile> {
  for (const field of desc.fields) {
    for (const { what, put } of hostileFields(field, depth)) {
      const message = create(desc);
      put(reflect(desc, message, false));
      yield { what: `${field.name}${what}`, message };
    }
  }
}

interface HostileField {
  readonly what: string;
  readonly put: (message: ReflectMessage) => void;
}

function* hostileFields(field: DescField, depth: number): Iterable<HostileField> {
  switch (field.fieldKind) {
    case "list":
      // As many as fit, and as many as a condition may go through.
      for (const count of [bytes / 2, 500])
        yield {
          what: ` with ${count} items`,
          put: (message) => {
            const list = message.get(field);
            for (let index = 0; index < count; index++) list.add(smallItem(field));
          },
        };
      for (const [what, value] of hostileItems(field, depth))
        yield { what: `[0]${what}`, put: (message) => message.get(field).add(value) };
      if (field.scalar === ScalarType.STRING)
        for (const [count, length] of [
          [bytes / 32, 30],
          [50, 200],
        ] as const)
          for (const [what, text] of texts.filter(([what]) => what.endsWith('...!"') && !what.includes("@")))
            yield {
              what: ` with ${count} items of ${length}${what}`,
              put: (message) => {
                const item = text.slice(0, length - 1) + text.slice(-1);
                for (let index = 0; index < count; index++) message.get(field).add(item);
              },
            };
      return;
    case "map":
      for (const count of [bytes / 8, 500])
        yield {
          what: ` with ${count} entries`,
          put: (message) => {
            const map = message.get(field);
            for (let index = 0; index < count; index++) map.set(keyOf(field, index), smallItem(field));
          },
        };
      for (const [what, value] of hostileItems(field, depth))
        yield { what: `[1]${what}`, put: (message) => message.get(field).set(keyOf(field, 1), value) };
      return;
    default:
      for (const [what, value] of hostileItems(field, depth))
        yield { what, put: (message) => message.set(field, value) };
  }
}

/** Values of 64 KiB for a field, or for an item of it. */
function* hostileItems(field: DescField, depth: number): Iterable<readonly [what: string, value: unknown]> {
  if (field.message !== undefined && depth > 0)
    for (const { what, message } of hostileMessages(field.message, depth - 1))
      yield [`.${what}`, reflect(field.message, message, false)];
  if (field.scalar === ScalarType.STRING) {
    yield* texts;
    // As many as a condition may match with a pattern.
    for (const [what, text] of texts) yield [`${what}, cut`, text.slice(0, 9_998) + text.slice(-1)];
  }
  if (field.scalar === ScalarType.BYTES) yield [": zeros", new Uint8Array(bytes)];
}

/** An item of which many fit. */
function smallItem({ message, scalar }: DescField): unknown {
  if (message !== undefined) return reflect(message, create(message), false);
  switch (scalar) {
    case ScalarType.STRING:
      return "";
    case ScalarType.BYTES:
      return new Uint8Array();
    case ScalarType.BOOL:
      return false;
    default:
      return isLong(scalar) ? 1n : 1;
  }
}

function keyOf(
  { mapKey }: DescField & { fieldKind: "map" },
  index: number,
): string | number | bigint | boolean {
  if (mapKey === ScalarType.STRING) return String(index);
  if (mapKey === ScalarType.BOOL) return index % 2 === 0;
  return isLong(mapKey) ? BigInt(index) : index;
}

function isLong(scalar: ScalarType | undefined): boolean {
  return scalar !== undefined && ScalarType[scalar].endsWith("64");
}

/** Texts of 64 KiB that nearly are what a pattern or a format wants, in many ways at once. */
const texts: readonly (readonly [what: string, text: string])[] = [
  "a",
  "1",
  "a-",
  "a.",
  "aA",
  " ",
  "@",
  ":",
  "1:",
  "%41",
  "\u{1F600}",
  `${"a".repeat(62)}.`,
].flatMap((part) =>
  ["", "a@", "http://", "http://a@", "[::", "1.1.1.1/"].flatMap((start) =>
    ["", "!", "@ "].map((end) => {
      const text = `${start}${part.repeat((bytes - start.length - end.length) / Buffer.byteLength(part))}${end}`;
      return [`: "${start}${part.slice(0, 3)}...${end}"`, text] as const;
    }),
  ),
);

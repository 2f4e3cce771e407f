import { create, fromBinary, fromJsonString, type Message, toJsonString } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { Matrix } from "../../packages/gateway/src/policy/matrix.ts";
import { overH1 } from "../exchange.ts";
import { rawCall } from "../raw-call.ts";
import { type PlannedCall, rowOf } from "./plan.ts";

/** How a call ended. */
export interface Outcome {
  readonly call: PlannedCall;
  /** `ok`, or the name of the error's code. */
  readonly code: string;
  readonly messages: readonly Message[];
}

/** Makes the calls, some at a time. */
export async function runCalls(url: string, calls: readonly PlannedCall[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const rest = calls.values();
  const work = async () => {
    for (const call of rest) outcomes.push(await makeCall(url, call));
  };
  await Promise.all(Array.from({ length: 24 }, work));
  return outcomes;
}

/** What went otherwise than the matrix says, one line each. */
export function deviations(matrix: Matrix, outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap(({ call, code, messages }) => {
    if (
      call.expected === "let in"
        ? isAnswered(call, code, messages)
        : code === call.expected && messages.length === 0
    )
      return [];
    return [
      `${describeCall(matrix, call)}: expected ${call.expected}, got ${code} with ${messages.length} messages`,
    ];
  });
}

/** The guarded fields that were in answers and must not be, and those that never were although they may be read. */
export function fieldDeviations(matrix: Matrix, outcomes: readonly Outcome[]): string[] {
  const seen = new Set(
    outcomes.flatMap(({ call, messages }) =>
      messages.flatMap((message) =>
        [...setFields(reflect(call.method.output, message))].map(
          (field) => `${rowOf(matrix, call.method).name} ${call.subject} ${field}`,
        ),
      ),
    ),
  );
  return matrix.fields
    .filter(({ action }) => action === "read")
    .flatMap(({ name, methods, verdicts }) =>
      methods.flatMap((method) =>
        verdicts.flatMap((verdict, subject) => {
          const calls = matrix.methods.find((row) => row.name === method)?.verdicts[subject];
          const wanted = verdict === "yes" && (calls === "yes" || calls === "if");
          if (seen.has(`${method} ${subject} ${name}`) === wanted) return [];
          const who = matrix.subjects[subject]?.name;
          return [`${method} as ${who}: ${name} is ${wanted ? "never in an answer" : "in an answer"}`];
        }),
      ),
    );
}

/** A stream ends with its deadline: it was answered if something came. */
function isAnswered({ method }: PlannedCall, code: string, messages: readonly Message[]): boolean {
  return method.methodKind === "unary" ? code === "ok" : code === "deadline_exceeded" && messages.length > 0;
}

function describeCall(matrix: Matrix, { method, way, subject, credential, request }: PlannedCall): string {
  const text = toJsonString(method.input, create(method.input, request));
  return `${rowOf(matrix, method).name} as ${matrix.subjects[subject]?.name}, ${credential}, ${way}, ${text}`;
}

async function makeCall(url: string, call: PlannedCall): Promise<Outcome> {
  const { method, way, request, token } = call;
  const asText = way === "GET" || way === "connect+json";
  const read = (bytes: Buffer): Message =>
    asText ? fromJsonString(method.output, bytes.toString()) : fromBinary(method.output, bytes);
  const answer =
    way === "GET"
      ? await get(url, call)
      : await rawCall(url, method, request, {
          way,
          ...(token !== undefined && { token }),
          ...(method.methodKind !== "unary" && { timeoutMs: 1_000 }),
        });
  return { call, code: answer.code, messages: answer.messages.map(read) };
}

async function get(url: string, { method, request, token }: PlannedCall) {
  const text = encodeURIComponent(toJsonString(method.input, create(method.input, request)));
  const path = `/${method.parent.typeName}/${method.name}?connect=v1&encoding=json&message=${text}`;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const { status, body } = await overH1(url, { method: "GET", path, headers });
  if (status === 200) return { code: "ok", messages: [body] };
  const { code }: { code?: unknown } = JSON.parse(body.toString());
  return { code: String(code), messages: [] };
}

/** The full names of all fields that are set, at any depth. */
function* setFields(message: ReflectMessage): Generator<string> {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    yield `${field.parent.typeName}.${field.name}`;
    if (field.message === undefined) continue;
    if (field.fieldKind === "message") yield* setFields(message.get(field));
    const items =
      field.fieldKind === "list"
        ? message.get(field)
        : field.fieldKind === "map"
          ? message.get(field).values()
          : [];
    for (const item of items) yield* setFields(item as ReflectMessage);
  }
}

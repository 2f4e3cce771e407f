import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Matrix, MatrixMethod } from "../../packages/gateway/src/policy/matrix.ts";
import type { TestIssuer } from "../issuer.ts";
import { ways } from "../raw-call.ts";
import type { Forgery } from "./forgeries.ts";
import { type Requests, requestsOf } from "./requests.ts";

/** How a call is made: a protocol with its codec, or a GET. */
export type MatrixWay = (typeof ways)[number] | "GET";

/** One call to make, and what the matrix says of it. */
export interface PlannedCall {
  readonly method: DescMethod;
  readonly way: MatrixWay;
  /** The index of the caller among the subjects of the matrix. */
  readonly subject: number;
  /** What the caller shows, in words. */
  readonly credential: string;
  readonly token: string | undefined;
  readonly request: MessageInitShape<DescMessage>;
  readonly expected: "let in" | "unauthenticated" | "permission_denied" | "unimplemented";
}

/** Every call that shows what the matrix says: method x way x subject x credential, and both sides of conditions. */
export function planCalls(
  matrix: Matrix,
  methods: readonly DescMethod[],
  issuer: TestIssuer,
  forgeries: readonly Forgery[],
): PlannedCall[] {
  const callers = matrix.subjects.map(({ kind, name }, subject) => {
    const claims = { sub: subjectOf(subject), roles: kind === "role" ? [name] : [] };
    return { subject, claims, token: kind === "anonymous" ? undefined : issuer.token(claims) };
  });
  return methods.flatMap((method) => {
    const row = rowOf(matrix, method);
    return callers.flatMap(({ subject, claims, token }) => {
      const valid = { subject, token, credential: token === undefined ? "none" : "valid" };
      const forged = () =>
        forgeries.map(({ name, make }) => ({
          ...{ subject, token: make(claims), credential: name },
          request: requestsFor(row).met(subjectOf(subject)),
          expected: "unauthenticated" as const,
        }));
      const posts = waysOf(method).flatMap((way) => {
        const deeds = validDeeds(matrix, row, subject).map((deed) => ({ ...deed, ...valid }));
        return [...deeds, ...(token === undefined ? [] : forged())].map((call) => ({ ...call, method, way }));
      });
      return [...posts, ...wrongGets(method, valid)];
    });
  });
}

/** The protocols, and GET for what has no side effects. */
export function waysOf(method: DescMethod): readonly MatrixWay[] {
  return method.methodKind === "unary" && !mutates(method) ? [...ways, "GET"] : ways;
}

/** A user that there is, for each subject. */
export function subjectOf(index: number): string {
  return `user-${index + 1}`;
}

export function rowOf({ methods }: Matrix, method: DescMethod): MatrixMethod {
  const row = methods.find(({ name }) => name === `${method.parent.typeName}/${method.name}`);
  if (row === undefined) throw new Error(`the matrix has no row for ${method.toString()}`);
  return row;
}

type Deed = Pick<PlannedCall, "request" | "expected">;

/** What a caller with good credentials, or none, asks of a method. */
function validDeeds(matrix: Matrix, row: MatrixMethod, subject: number): Deed[] {
  const { met, unmet, setting = {} } = requestsFor(row);
  const name = subjectOf(subject);
  const refused = matrix.subjects[subject]?.kind === "anonymous" ? "unauthenticated" : "permission_denied";
  const verdict = row.verdicts[subject] ?? "no";
  if (verdict === "no") return [{ request: met(name), expected: refused }];
  if (verdict === "absent") return [{ request: met(name), expected: "unimplemented" }];
  if (row.conditions.length > 0 && unmet === undefined) throw new Error(missing(row, "unmet"));
  return [
    { request: met(name), expected: "let in" },
    ...(unmet === undefined
      ? []
      : [
          {
            request: unmet(name),
            expected: verdict === "if" ? ("permission_denied" as const) : ("let in" as const),
          },
        ]),
    ...matrix.fields
      .filter(({ action, methods }) => action === "set" && methods.includes(row.name))
      .map((field): Deed => {
        const request = setting[field.name]?.(name);
        if (request === undefined) throw new Error(missing(row, `setting, for ${field.name}`));
        return { request, expected: field.verdicts[subject] === "yes" ? "let in" : "permission_denied" };
      }),
  ];
}

/** What may change something is not for GET, whoever asks. */
function wrongGets(
  method: DescMethod,
  caller: Pick<PlannedCall, "subject" | "token" | "credential">,
): PlannedCall[] {
  if (method.methodKind !== "unary" || !mutates(method)) return [];
  return [{ ...caller, method, way: "GET", request: {}, expected: "unimplemented" }];
}

function mutates({ idempotency }: DescMethod): boolean {
  return idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

function requestsFor({ name }: MatrixMethod): Requests {
  return requestsOf[name] ?? { met: () => ({}) };
}

function missing({ name }: MatrixMethod, what: string): string {
  return `${name} needs a request here: write it into tests/policy-matrix/requests.ts as ${what}`;
}

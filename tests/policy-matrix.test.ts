import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  clearExtension,
  clone,
  create,
  createFileRegistry,
  type DescFile,
  type DescMethod,
  hasOption,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createGateway, loadConfig, type PublicService, service } from "@portico/gateway";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as app from "../packages/gateway/src/app/app.ts";
import { runCommand } from "../packages/gateway/src/cli/command.ts";
import { method as methodOption } from "../packages/gateway/src/gen/portico/v1/policy_pb.ts";
import { parseAccess } from "../packages/gateway/src/policy/access.ts";
import { createMatrix, type Matrix } from "../packages/gateway/src/policy/matrix.ts";
import { createMethodTable } from "../packages/gateway/src/policy/method-table.ts";
import { environmentOf, startIssuer, type TestIssuer } from "./issuer.ts";
import { type Forgery, forgeriesOf } from "./policy-matrix/forgeries.ts";
import { type PlannedCall, planCalls, waysOf } from "./policy-matrix/plan.ts";
import { deviations, fieldDeviations, type Outcome, runCalls } from "./policy-matrix/run.ts";
import { type System, startSystem } from "./system.ts";

// The policy as it is written, as it is printed for review, and as it is enforced on the wire, are one and the same.

const root = fileURLToPath(new URL("..", import.meta.url));
const access = "packages/gateway/src/app/access.json";
const accessFile = `${root}/${access}`;
const { services, upstreams } = app;
const methods = services.flatMap(({ desc }) => desc.methods);

describe("the committed matrix", () => {
  test("is what the policies come to", async () => {
    let text = "";
    const code = await runCommand(["matrix"], {
      env: { ACCESS_FILE: accessFile },
      app: async () => app,
      project: { appFolder: "/nowhere", run: async () => ({ code: 1, output: "" }) },
      now: Date.now,
      out: (part) => {
        text += part;
      },
      err: (part) => {
        throw new Error(part);
      },
    });
    expect(code).toBe(0);
    expect(
      text,
      `docs/policy-matrix.txt is not what the policies come to. Read the difference. If it is meant, write it with
ACCESS_FILE=${access} npx -y pnpm@12 portico matrix --out docs/policy-matrix.txt`,
    ).toBe(readFileSync(`${root}/docs/policy-matrix.txt`, "utf8"));
  });
});

describe("on the wire", () => {
  const matrix: Matrix = createMatrix(
    createMethodTable(services),
    parseAccess(readFileSync(accessFile, "utf8"), access),
  );
  let issuer: TestIssuer;
  let hostile: TestIssuer;
  let system: System;
  let forgeries: readonly Forgery[];
  let calls: readonly PlannedCall[];
  let refused: readonly Outcome[];
  let upstreamCallsOfRefused: number;
  let letIn: readonly Outcome[];

  const upstreamCalls = () => {
    const { users, orders, inventory } = system.mocks;
    return users.calls.count() + orders.calls.count() + inventory.calls.count();
  };

  beforeAll(async () => {
    issuer = await startIssuer();
    hostile = await startIssuer();
    system = await startSystem({ env: environmentOf(issuer) });
    forgeries = forgeriesOf(issuer, hostile);
    calls = planCalls(matrix, methods, issuer, forgeries);
    // Apart, so that whatever reaches an internal service meanwhile was not to.
    refused = await runCalls(
      system.url,
      calls.filter(({ expected }) => expected !== "let in"),
    );
    upstreamCallsOfRefused = upstreamCalls();
    letIn = await runCalls(
      system.url,
      calls.filter(({ expected }) => expected === "let in"),
    );
  }, 120_000);
  afterAll(async () => {
    await system.close();
    await Promise.all([issuer.close(), hostile.close()]);
  });

  test("every method was called in every way by everyone with every credential", () => {
    const callers = matrix.subjects.length - 1;
    const each = methods.map((method) => waysOf(method).length * (1 + callers * (1 + forgeries.length)));
    expect(forgeries.length).toBeGreaterThanOrEqual(13);
    expect(refused.length + letIn.length).toBe(calls.length);
    const kinds = new Set(
      calls.map(({ method, way, subject, credential }) =>
        JSON.stringify([method.toString(), way, subject, credential]),
      ),
    );
    const wrongGets = methods.filter(
      (method) => method.methodKind === "unary" && !waysOf(method).includes("GET"),
    );
    expect(kinds.size).toBe(
      each.reduce((sum, count) => sum + count, 0) + wrongGets.length * matrix.subjects.length,
    );
    expect(letIn.length).toBeGreaterThan(methods.length);
  });

  test("every call ends as the matrix says", () => {
    expect(deviations(matrix, [...refused, ...letIn])).toEqual([]);
  });

  test("no refused call reaches an internal service", () => {
    expect(refused.length).toBeGreaterThan(1_000);
    expect(upstreamCallsOfRefused).toBe(0);
    // Those that are let in do, so that there is something to count.
    expect(upstreamCalls()).toBeGreaterThanOrEqual(letIn.length);
  });

  test("both sides of every condition were seen", () => {
    const conditional = matrix.methods.filter(({ verdicts }) => verdicts.includes("if"));
    expect(conditional.length).toBeGreaterThan(0);
    for (const { name, verdicts } of conditional) {
      const seen = [...refused, ...letIn].filter(
        ({ call }) =>
          `${call.method.parent.typeName}/${call.method.name}` === name &&
          verdicts[call.subject] === "if" &&
          call.credential === "valid" &&
          call.way === "connect+json",
      );
      expect(new Set(seen.map(({ code }) => code)), name).toEqual(new Set(["ok", "permission_denied"]));
    }
  });

  test("answers have the guarded fields that their caller may read, and no others", () => {
    expect(fieldDeviations(matrix, letIn)).toEqual([]);
  });

  test("nobody asks for keys where a token says that they are, and the issuer is not asked for every token", () => {
    expect(hostile.asked()).toEqual([]);
    expect(issuer.asked().length).toBeGreaterThan(0);
    expect(issuer.asked().length).toBeLessThanOrEqual(6);
  });
});

test("a gateway that lets more in, or less, than the matrix says is found out", async () => {
  const given = JSON.parse(readFileSync(accessFile, "utf8"));
  const matrixOf = (roles: object) =>
    createMatrix(createMethodTable(services), parseAccess(JSON.stringify({ ...given, roles }), access));
  const more = matrixOf({ ...given.roles, support: ["*"], viewer: ["users.*"] });
  await using issuer = await startIssuer();
  await using system = await startSystem({ env: environmentOf(issuer) });
  const calls = planCalls(more, methods, issuer, []).filter(({ way }) => way === "grpc");
  const found = deviations(more, await runCalls(system.url, calls));
  expect(found).toContainEqual(
    expect.stringMatching(/CreateUser as support, valid, grpc, .*: expected let in, got p/),
  );
  expect(found).toContainEqual(
    expect.stringMatching(/GetUser as viewer, valid, grpc, .*: expected let in, got perm/),
  );
  expect(found).toContainEqual(
    expect.stringMatching(
      /GetOrderWithUser as viewer, .*: expected permission_denied, got ok with 1 message/,
    ),
  );
  expect(found.filter((line) => !/ as (support|viewer), /.test(line))).toEqual([]);
});

describe("a method whose policy is taken away", () => {
  const environment = {
    PORTICO_MODE: "demo",
    ACCESS_FILE: accessFile,
    ...Object.fromEntries(
      ["USERS", "ORDERS", "INVENTORY"].map((name) => [`UPSTREAM_${name}`, "http://127.0.0.1:1"]),
    ),
  };
  const start = (changed: readonly PublicService[]) =>
    createGateway({
      config: loadConfig(environment, ["users", "orders", "inventory"]),
      services: changed,
      upstreams,
      log: pino({ level: "silent" }),
    });

  test.each(methods.map((method) => ({ name: `${method.parent.typeName}.${method.name}`, method })))(
    "stops the start: $name",
    async ({ name, method }) => {
      expect(hasOption(method, methodOption)).toBe(true);
      const problem = await start(withoutPolicy(method)).then(() => "it started", String);
      expect(problem).toContain("Portico cannot start:");
      expect(problem).toContain(
        `${name} has no policy. Write into the rpc, in ${method.parent.file.name}.proto:\n      option (portico.v1.method) = {permission: "`,
      );
    },
  );

  /** All services, one of them without the option of one method. */
  function withoutPolicy(method: DescMethod): PublicService[] {
    const { file } = method.parent;
    const proto = clone(FileDescriptorProtoSchema, file.proto);
    const options = proto.service
      .find(({ name }) => name === method.parent.name)
      ?.method.find(({ name }) => name === method.name)?.options;
    if (options === undefined) throw new Error(`${method.toString()} has no options`);
    clearExtension(options, methodOption);
    const registry = createFileRegistry(
      create(FileDescriptorSetSchema, { file: [...importsOf(file).map(({ proto }) => proto), proto] }),
    );
    return services.map(({ desc, handlers }) => {
      if (desc.typeName !== method.parent.typeName) return { desc, handlers };
      // The compiler does not know the methods of a service that was made at run time.
      return Reflect.apply(service, undefined, [registry.getService(desc.typeName), handlers]);
    });
  }

  /** All that a file needs, each before those that need it. */
  function importsOf({ dependencies }: DescFile, found = new Set<DescFile>()): DescFile[] {
    for (const dependency of dependencies) {
      importsOf(dependency, found);
      found.add(dependency);
    }
    return [...found];
  }
});

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createFileRegistry, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import { OrdersService } from "@portico/client-sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServerReflection as V1 } from "../packages/gateway/src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as V1Alpha } from "../packages/gateway/src/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { curator, museum } from "../packages/gateway/src/testing/museum.ts";
import { type GrpcClient, grpcClient } from "./grpc-client.ts";
import { rawCall } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// What clients learn that have no protos, through clients that were made elsewhere.

const api = "acme.api.museum.v1";
const standard = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
];

let system: System;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "portico-museum-"));
  const accessFile = join(folder, "access.json");
  const access = {
    roles: { admin: ["*"], customer: ["exhibits.appraise"], viewer: [] },
    audiences: { partner: ["customer"], internal: ["admin"] },
  };
  writeFileSync(accessFile, JSON.stringify(access));
  system = await startSystem({ services: [museum, curator], env: { ACCESS_FILE: accessFile } });
});
afterAll(async () => {
  await system.close();
  rmSync(folder, { recursive: true });
});

describe.each(["grpc-v1", "grpc-v1alpha"])("buf curl over %s", (version) => {
  const reflect = ["--reflect-protocol", version];

  test("lists the services that everybody may know of", async () => {
    expect(lines(await curl([...reflect, "--list-services"]))).toEqual([`${api}.MuseumService`, ...standard]);
  });

  test("lists the methods of a caller's audience", async () => {
    const forAll = ["GetExhibit", "WatchExhibits"];
    const path = `${api}.MuseumService`;
    expect(await methodsFor(undefined)).toEqual(forAll.map((name) => `${path}/${name}`));
    expect(await methodsFor("customer")).toEqual(
      ["AppraiseExhibit", ...forAll].map((name) => `${path}/${name}`),
    );
    expect(await methodsFor("admin")).toEqual([
      `${api}.CuratorService/AddExhibit`,
      ...["AppraiseExhibit", "GetExhibit", "OpenVault", "WatchExhibits"].map((name) => `${path}/${name}`),
    ]);
  });

  test("calls a method that it has learnt of, and reads the answer", async () => {
    const answer = await curl([...reflect, "-d", '{"name": "amber"}'], {
      path: "MuseumService/GetExhibit",
      role: "admin",
    });
    expect(JSON.parse(answer.stdout)).toEqual({
      exhibit: {
        name: "amber",
        era: "ERA_BRONZE",
        label: { text: "old" },
        stone: { colour: "amber", age: "40000000", fossil: { name: "gnat" } },
      },
      extra: { "@type": `type.googleapis.com/${api}.Ticket`, number: "7" },
    });
  });

  test("reads a stream", async () => {
    const answer = await curl([...reflect, "-d", "{}"], { path: "MuseumService/WatchExhibits" });
    expect(JSON.parse(answer.stdout)).toEqual({ exhibit: { name: "amber" } });
  });

  test("does not find a method that is made for others", async () => {
    const answer = await curl([...reflect, "-d", "{}"], { path: "CuratorService/AddExhibit" });
    expect(answer).toMatchObject({
      failed: true,
      stderr: expect.stringContaining("failed to find service"),
    });
  });

  async function methodsFor(role: "customer" | "admin" | undefined): Promise<string[]> {
    return lines(await curl([...reflect, "--list-methods"], { role })).filter((line) => line.startsWith(api));
  }
});

describe.each([V1, V1Alpha])("grpc-js over $typeName", (service) => {
  const info = service.method.serverReflectionInfo;

  test("asks many questions in one stream, and can build all that it is told of", async () => {
    using client = grpcClient(system.url, await system.token("admin"));
    const stream = client.open(info, { messageRequest: { case: "listServices", value: "*" } });
    const names = await services(stream.next());
    expect(names).toEqual([`${api}.CuratorService`, `${api}.MuseumService`, ...standard]);
    const files = new Map<string, Uint8Array>();
    for (const value of names) {
      stream.send({ messageRequest: { case: "fileContainingSymbol", value } });
      for (const file of filesOf(await stream.next()))
        files.set(fromBinary(FileDescriptorProtoSchema, file).name, file);
    }
    stream.end();
    expect(await stream.next()).toBeUndefined();
    const service = registryOf(files, "acme/api/museum/v1/museum_service.proto").getService(
      `${api}.MuseumService`,
    );
    expect(service?.methods.map(({ name }) => name)).toEqual(museum.desc.methods.map(({ name }) => name));
  });

  test("gets the host and the request back with each answer", async () => {
    using client = grpcClient(system.url);
    const messageRequest = { case: "fileByFilename", value: "nothing.proto" } as const;
    const stream = client.open(info, { host: "example.com", messageRequest });
    expect(await stream.next()).toMatchObject({
      validHost: "example.com",
      originalRequest: { host: "example.com", messageRequest },
      messageResponse: { case: "errorResponse", value: { errorCode: status.NOT_FOUND } },
    });
    // The stream goes on after it.
    stream.send({});
    expect(await stream.next()).toMatchObject({
      messageResponse: { case: "errorResponse", value: { errorCode: status.INVALID_ARGUMENT } },
    });
    stream.end();
    expect(await stream.next()).toBeUndefined();
  });

  test("cannot ask for ever", async () => {
    using client = grpcClient(system.url);
    const stream = client.open(info);
    const ask = async () => {
      for (let asked = 0; asked < 2_000; asked++) {
        stream.send({ messageRequest: { case: "listServices", value: "" } });
        await stream.next();
      }
    };
    await expect(ask()).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  test("cannot ask with more than a name needs", async () => {
    using client = grpcClient(system.url);
    const value = "a".repeat(10_000);
    const stream = client.open(info, { messageRequest: { case: "fileContainingSymbol", value } });
    await expect(stream.next()).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  test("is told that what it sent is no message", async () => {
    const body = Buffer.from([0, 0, 0, 0, 2, 255, 255]);
    const { code, requestId } = await rawCall(system.url, info, {}, { way: "grpc", body });
    expect(code).toBe("invalid_argument");
    expect(await system.logOf(requestId)).toMatchObject({ code, reason: "MALFORMED_REQUEST" });
  });

  test("needs HTTP/2, and is told so", async () => {
    const { status: http, body } = await rawCall(system.url, info, {}, { way: "grpc-web" });
    expect([http, body.toString()]).toEqual([505, expect.stringContaining("Use HTTP/2")]);
  });
});

test("without REFLECTION, nobody learns anything", async () => {
  await using without = await startSystem({ env: { REFLECTION: "off" } });
  using client = grpcClient(without.url);
  const stream = client.open(V1.method.serverReflectionInfo, {
    messageRequest: { case: "listServices", value: "" },
  });
  await expect(stream.next()).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
});

test("the demo's own API can be called with what it tells", async () => {
  await using demo = await startSystem();
  using client: GrpcClient = grpcClient(demo.url);
  const stream = client.open(V1.method.serverReflectionInfo, {
    messageRequest: { case: "listServices", value: "" },
  });
  expect(await services(stream.next())).toContain(OrdersService.typeName);
  stream.end();
  await stream.next();
});

interface Run {
  readonly stdout: string;
  readonly stderr: string;
  readonly failed: boolean;
}

/** Runs `buf curl`, which asks for the protos first. */
async function curl(
  args: readonly string[],
  { path, role }: { readonly path?: string; readonly role?: "customer" | "admin" | undefined } = {},
): Promise<Run> {
  const url = path === undefined ? system.url : `${system.url}/${api}.${path}`;
  const token = role === undefined ? [] : ["-H", `authorization: Bearer ${await system.token(role)}`];
  const reflect = role === undefined ? [] : ["--reflect-header", "*"];
  const all = ["curl", "--http2-prior-knowledge", "--protocol", "grpc", ...args, ...token, ...reflect, url];
  return new Promise((resolve) => {
    execFile(buf, all, { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ stdout, stderr, failed: error !== null });
    });
  });
}

const buf = fileURLToPath(new URL("../node_modules/.bin/buf", import.meta.url));

function lines({ stdout, stderr }: Run): string[] {
  if (stderr !== "") throw new Error(stderr);
  return stdout.trim().split("\n").sort();
}

interface Answer {
  readonly messageResponse: { readonly case: string | undefined; readonly value?: unknown };
}

async function services(answer: Promise<Answer | undefined>): Promise<string[]> {
  const value = (await answer)?.messageResponse.value;
  const { service } = value as { readonly service: { readonly name: string }[] };
  return service.map(({ name }) => name).sort();
}

function filesOf(answer: Answer | undefined): Uint8Array[] {
  if (answer?.messageResponse.case !== "fileDescriptorResponse") throw new Error("expected files");
  const { fileDescriptorProto } = answer.messageResponse.value as { fileDescriptorProto: Uint8Array[] };
  return fileDescriptorProto;
}

function registryOf(files: ReadonlyMap<string, Uint8Array>, name: string): FileRegistry {
  const file = (name: string) => fromBinary(FileDescriptorProtoSchema, files.get(name) ?? new Uint8Array());
  return createFileRegistry(file(name), file);
}

import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { thrownBy } from "../../testing/call.ts";
import { museum } from "../../testing/museum.ts";
import { createConversation, defaultConversationLimits, type Question, type Reply } from "./conversation.ts";
import { createSlices } from "./slice.ts";

const slice = createSlices([museum], []).public;
const name = "acme.api.museum.v1";
const folder = "acme/api/museum/v1";

test("lists the services", () => {
  expect(talk()({ case: "listServices", value: "*" })).toEqual({
    case: "listServicesResponse",
    value: { service: [{ name: `${name}.MuseumService` }] },
  });
});

test("sends a file with all that it imports, and what was sent before not again", () => {
  const ask = talk();
  const all = filesOf(ask({ case: "fileContainingSymbol", value: `${name}.MuseumService` }));
  expect(all[0]).toBe(`${folder}/museum_service.proto`);
  expect(all.slice(1).sort()).toEqual([
    `${folder}/exhibit.proto`,
    `${folder}/relic.proto`,
    `${folder}/stone.proto`,
    "google/protobuf/any.proto",
    "google/protobuf/timestamp.proto",
  ]);
  // What is asked for itself is always sent.
  expect(filesOf(ask({ case: "fileByFilename", value: `${folder}/exhibit.proto` }))).toEqual([
    `${folder}/exhibit.proto`,
  ]);
  expect(filesOf(talk()({ case: "fileByFilename", value: `${folder}/exhibit.proto` }))).toHaveLength(4);
});

test("leaves out imports that would make an answer too large", () => {
  const ask = talk({ answerBytes: 1 });
  const file = filesOf(ask({ case: "fileByFilename", value: `${folder}/exhibit.proto` }));
  expect(file).toEqual([`${folder}/exhibit.proto`]);
  expect(filesOf(ask({ case: "fileByFilename", value: `${folder}/relic.proto` }))).toHaveLength(1);
});

test.each<[Question, Code, string]>([
  [
    { case: "fileByFilename", value: "portico/v1/policy.proto" },
    Code.NotFound,
    "There is no file portico/v1/policy.proto.",
  ],
  [
    { case: "fileByFilename", value: "../../etc/passwd" },
    Code.NotFound,
    "There is no file ../../etc/passwd.",
  ],
  [
    { case: "fileContainingSymbol", value: `${name}.Vault` },
    Code.NotFound,
    `There is no symbol ${name}.Vault.`,
  ],
  [{ case: "fileContainingSymbol", value: "__proto__" }, Code.NotFound, "There is no symbol __proto__."],
  [extension(`${name}.Relic`, 100), Code.NotFound, `There is no extension 100 of ${name}.Relic.`],
  [extension("google.protobuf.MethodOptions", 50801), Code.NotFound, "There is no extension 50801 of"],
  [{ case: "allExtensionNumbersOfType", value: `${name}.Vault` }, Code.NotFound, "There is no message"],
  [{ case: undefined }, Code.InvalidArgument, "The request asks for nothing: set one of its fields."],
])("answers %j with an error", (question, errorCode, message) => {
  expect(talk()(question)).toEqual({
    case: "errorResponse",
    value: { errorCode, errorMessage: expect.stringContaining(message) },
  });
});

test("knows of no extension of a message", () => {
  expect(talk()({ case: "allExtensionNumbersOfType", value: `${name}.Relic` })).toEqual({
    case: "allExtensionNumbersResponse",
    value: { baseTypeName: `${name}.Relic`, extensionNumber: [] },
  });
});

test("bounds the names that it repeats, and makes them valid Unicode", () => {
  const reply = talk()({ case: "fileContainingSymbol", value: `\ud800${"a".repeat(4_000)}` });
  expect(reply.case === "errorResponse" && reply.value.errorMessage).toMatch(
    /^There is no symbol \ufffda{1000,1010}$/,
  );
});

test.each([{ questions: 2 }, { totalBytes: 10 }])("ends when more is asked than %j", async (limits) => {
  const ask = talk(limits);
  const question = { case: "fileByFilename", value: `${folder}/exhibit.proto` } as const;
  const error = await thrownBy(() => {
    for (let asked = 0; asked < 3; asked++) ask(question);
  });
  expect(error instanceof PublicError && error.reason).toBe("RATE_LIMIT_EXCEEDED");
});

function talk(limits: Partial<typeof defaultConversationLimits> = {}) {
  return createConversation(slice, { ...defaultConversationLimits, ...limits });
}

function extension(containingType: string, extensionNumber: number): Question {
  const value = {
    $typeName: "grpc.reflection.v1.ExtensionRequest",
    containingType,
    extensionNumber,
  } as const;
  return { case: "fileContainingExtension", value };
}

function filesOf(reply: Reply): string[] {
  if (reply.case !== "fileDescriptorResponse") throw new Error(`expected files, got ${reply.case}`);
  return reply.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

import {
  create,
  createFileRegistry,
  type DescField,
  type DescMessage,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { MuseumService } from "../../../../../tests/gen/acme/api/museum/v1/museum_service_pb.ts";
import { messagesIn } from "../../descriptors.ts";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { audiences } from "../../policy/rights.ts";
import type { PublicService } from "../../service.ts";
import { curator, museum } from "../../testing/museum.ts";
import { pub, pubLegacy, vaultEdition } from "../../testing/protos.ts";
import type { ServedFile } from "./served-file.ts";
import { createSlices, type Slice } from "./slice.ts";

const slices = createSlices([museum, curator], [ErrorInfoSchema]);

describe("an audience sees", () => {
  test("the services that have a method for it, and of them these methods", () => {
    expect(methodsOf(slices.public)).toEqual({ MuseumService: ["GetExhibit", "WatchExhibits"] });
    expect(methodsOf(slices.partner)).toEqual({
      MuseumService: ["GetExhibit", "WatchExhibits", "AppraiseExhibit"],
    });
    expect(methodsOf(slices.internal)).toEqual({
      CuratorService: ["AddExhibit"],
      MuseumService: ["GetExhibit", "WatchExhibits", "AppraiseExhibit", "OpenVault"],
    });
  });

  test("nothing that only the methods of others need", () => {
    const text = textOf(slices.public);
    for (const hidden of ["Appraise", "CERTAINTY", "Vault", "vault", "combination", "Curator", "AddExhibit"])
      expect(text).not.toContain(hidden);
    expect(textOf(slices.partner)).toContain("CERTAINTY_GUESS");
    expect(textOf(slices.partner)).not.toContain("combination");
    expect(textOf(slices.internal)).toContain("combination");
  });

  test("a message that is not for it as no more than the place of those declared in it", () => {
    const archive = registryOf(slices.public).getMessage("acme.api.museum.v1.Archive");
    expect(archive?.fields).toEqual([]);
    expect(archive?.oneofs).toEqual([]);
    expect(archive?.nestedMessages.map(({ name }) => name)).toEqual(["Label"]);
    expect(archive?.nestedEnums.map(({ name }) => name)).toEqual(["Era"]);
    const text = textOf(slices.public);
    for (const hidden of ["secret_shelf", "informant", "Keys"]) expect(text).not.toContain(hidden);
    expect(registryOf(slices.internal).getMessage("acme.api.museum.v1.Archive")?.fields).toHaveLength(3);
  });

  test("types that no method mentions, unless there are methods that they may be for", () => {
    expect(slices.public.symbols.has("acme.api.museum.v1.Ticket")).toBe(false);
    expect(slices.internal.symbols.get("acme.api.museum.v1.Ticket")).toBe("acme/api/museum/v1/exhibit.proto");
    const forAll = createSlices([withMethods("GetExhibit")], []);
    expect(forAll.public.symbols.has("acme.api.museum.v1.Ticket")).toBe(true);
    // This file is imported, but only for a note.
    expect(forAll.public.files.has("acme/api/museum/v1/note.proto")).toBe(false);
  });

  test("what another audience sees, where that is the same", () => {
    const { public: forPublic, partner, internal } = createSlices([withMethods("GetExhibit")], []);
    expect(partner).toBe(forPublic);
    expect(internal).toBe(forPublic);
    expect(slices.partner).not.toBe(slices.public);
  });
});

describe.each(audiences)("the files for the audience %s", (audience) => {
  const slice = slices[audience];

  test("are whole: all that they import is there, and no more", () => {
    const imported = [...slice.files.values()].flatMap(({ imports }) => imports);
    expect([...slice.files.keys()]).toEqual(expect.arrayContaining(imported));
    expect(() => registryOf(slice)).not.toThrow();
  });

  test("say nothing of policies, rules, or notes of the company", () => {
    const text = textOf(slice);
    const notes = ["portico/v1", "buf/validate", "google/api", "exhibits.", "shelf mark", "note", "curse"];
    for (const hidden of notes) expect(text).not.toContain(hidden);
    for (const { proto } of registryOf(slice).files) {
      expect(proto.publicDependency).toEqual([]);
      expect(proto.extension).toEqual([]);
      expect(proto.sourceCodeInfo).toBeUndefined();
    }
  });

  test("have the options of protobuf itself", () => {
    const methods = registryOf(slice).getService(MuseumService.typeName)?.method;
    expect(methods?.["getExhibit"]?.idempotency).toBe(1);
    expect(methods?.["watchExhibits"]?.deprecated).toBe(true);
  });

  test("describe messages as they are, in every syntax", () => {
    expectSame(slice, messagesIn([MuseumService.method.getExhibit.output]));
  });

  test("have the details of errors, which come with all that is in their file", () => {
    expect(slice.symbols.get("google.rpc.ErrorInfo")).toBe("google/rpc/error_details.proto");
    expect(slice.symbols.has("google.rpc.LocalizedMessage")).toBe(true);
    expect(slice.files.has("google/protobuf/duration.proto")).toBe(true);
  });
});

describe("an API in any syntax is described as it is:", () => {
  test.each<[string, DescService]>([
    ["proto3", pub.WarehouseService],
    ["proto2", pubLegacy.LedgerService],
    ["an edition", vaultEdition.VaultEditionService],
  ])("%s", (_, desc) => {
    const slice = createSlices([{ desc, handlers: {} }], []).internal;
    expect(slice.services).toEqual([desc.typeName]);
    expectSame(slice, messagesIn(desc.methods.flatMap(({ input, output }) => [input, output])));
  });
});

describe("symbols", () => {
  test.each(["MuseumService", "MuseumService.GetExhibit", "GetExhibitRequest", "GetExhibitRequest.name"])(
    "%s is in the file of the service",
    (name) => {
      expect(slices.public.symbols.get(`acme.api.museum.v1.${name}`)).toBe(
        "acme/api/museum/v1/museum_service.proto",
      );
    },
  );

  test.each([
    "Exhibit.kind",
    "Exhibit.Room",
    "Exhibit.Room.number",
    "Archive.Era",
    // As in C++, a value stands beside its enum.
    "Archive.ERA_BRONZE",
  ])("%s is in the file that it is declared in", (name) => {
    expect(slices.public.symbols.get(`acme.api.museum.v1.${name}`)).toBe("acme/api/museum/v1/exhibit.proto");
  });

  test.each([
    "MuseumService.OpenVault",
    "CuratorService",
    "Vault",
    "Archive.secret_shelf",
    "note",
    "Relic.curse",
    "",
  ])("%j is none for the public", (name) => {
    expect(slices.public.symbols.has(`acme.api.museum.v1.${name}`)).toBe(false);
    expect(slices.public.symbols.has(name)).toBe(false);
  });
});

/** Some methods of the museum alone. */
function withMethods(...names: readonly string[]): PublicService {
  const methods = MuseumService.methods.filter(({ name }) => names.includes(name));
  return { desc: { ...MuseumService, methods }, handlers: {} };
}

/** A registry wants what is imported first. */
function registryOf({ files }: Slice): FileRegistry {
  const sorted = new Set<ServedFile>();
  const visit = (file: ServedFile | undefined): void => {
    if (file === undefined || sorted.has(file)) return;
    for (const name of file.imports) visit(files.get(name));
    sorted.add(file);
  };
  for (const file of files.values()) visit(file);
  const file = Array.from(sorted, ({ bytes }) => fromBinary(FileDescriptorProtoSchema, bytes));
  return createFileRegistry(create(FileDescriptorSetSchema, { file }));
}

function methodsOf(slice: Slice): Record<string, string[]> {
  const registry = registryOf(slice);
  const services = slice.services.map((name) => registry.getService(name));
  return Object.fromEntries(
    services.map((desc) => [desc?.name ?? "", desc?.methods.map(({ name }) => name) ?? []]),
  );
}

/** All names and texts in the files of a slice. */
function textOf({ files }: Slice): string {
  return Array.from(files.values(), ({ bytes }) => Buffer.from(bytes).toString("latin1")).join("\n");
}

/** Expects some messages to be described as the gateway itself knows them. */
function expectSame(slice: Slice, messages: Iterable<DescMessage>): void {
  const registry = registryOf(slice);
  for (const message of messages) {
    const served = registry.getMessage(message.typeName);
    expect(served?.fields.map(shapeOf)).toEqual(message.fields.map(shapeOf));
    expect(served?.oneofs.map(({ name }) => name)).toEqual(message.oneofs.map(({ name }) => name));
  }
}

function shapeOf(field: DescField): object {
  const { name, number, fieldKind, jsonName, presence } = field;
  return {
    ...{ name, number, fieldKind, jsonName, presence },
    scalar: field.scalar,
    message: field.message?.typeName,
    values: field.enum?.values.map((value) => [value.name, value.number]),
    packed: field.fieldKind === "list" && field.packed,
    delimited: field.fieldKind === "message" && field.delimitedEncoding,
    standing:
      field.fieldKind === "scalar" || field.fieldKind === "enum" ? field.getDefaultValue() : undefined,
  };
}

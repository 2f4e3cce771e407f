import { create, createFileRegistry, type DescMessage } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { internal } from "../../testing/protos.ts";
import { addAfterMessage, addImport, addToMessage, commentOf, commentOfType, commentText } from "./proto.ts";

const crate = internal.CrateSchema;

/** A message inside another one of a file that is nowhere else. */
function innerMessage(): DescMessage {
  const file = { name: "acme/box.proto", package: "acme", syntax: "proto3" };
  const set = create(FileDescriptorSetSchema, {
    file: [{ ...file, messageType: [{ name: "Box", nestedType: [{ name: "Slot" }] }] }],
  });
  const found = createFileRegistry(set).getMessage("acme.Box.Slot");
  if (found === undefined) throw new Error("there is no such message");
  return found;
}

describe("a field is put at the end of its message", () => {
  test("whatever stands in comments, strings and options", () => {
    const text = `// message Crate { }
message Crate {
  // A } in a comment, and "a quote
  string code = 1 [(a.b) = {x: "}"}]; /* } */
  message Crate {}
  oneof kind { string a = 2; }
}
message CrateSummary {}
`;
    expect(addToMessage(text, crate, "// New.\nint32 size = 3;\n")).toBe(
      text.replace("string a = 2; }\n", "string a = 2; }\n  // New.\n  int32 size = 3;\n"),
    );
  });

  test("even if the message is empty, on one line", () => {
    expect(addToMessage("message Crate {}", crate, "int32 size = 1;\n")).toBe(
      "message Crate {\n  int32 size = 1;\n}",
    );
  });

  test("of the message that stands inside another one", () => {
    const text = "message Slot {}\nmessage Box {\n  message Slot {\n    int32 a = 1;\n  }\n}\n";
    expect(addToMessage(text, innerMessage(), "int32 b = 2;\n")).toBe(
      "message Slot {}\nmessage Box {\n  message Slot {\n    int32 a = 1;\n    int32 b = 2;\n  }\n}\n",
    );
    expect(addAfterMessage(text, innerMessage(), "enum E {}\n")).toBe(`${text.trimEnd()}\n\nenum E {}\n`);
  });

  test("and nowhere, if there is no such message", () => {
    expect(addToMessage("message CrateSummary {}", crate, "int32 a = 1;\n")).toBeUndefined();
  });
});

describe("an import", () => {
  test("comes after the others, or after the package", () => {
    expect(addImport('syntax = "proto3";\npackage a;\nimport "b.proto";\n', "c.proto")).toBe(
      'syntax = "proto3";\npackage a;\nimport "b.proto";\nimport "c.proto";\n',
    );
    expect(addImport('syntax = "proto3";\n\npackage a;\n', "c.proto")).toContain(
      'package a;\nimport "c.proto";\n',
    );
  });

  test.each([
    'import "c.proto";\n',
    "import 'c.proto';\n",
    'import public "c.proto";\n',
    'import  weak\t"c.proto" ; // c\n',
    'package a; // first\n  import\n    "c.proto";\n',
  ])("is not written twice: %j", (text) => {
    expect(addImport(text, "c.proto")).toBe(text);
  });

  test("is written if a comment, or the name of another file, has it", () => {
    for (const text of ['// import "c.proto";\nimport "b.proto";\n', 'import "b/c.proto";\n'])
      expect(addImport(text, "c.proto")).toBe(`${text}import "c.proto";\n`);
  });

  test("leaves comments and messages on a line where they are", () => {
    expect(addImport('import "b.proto"; // {why}\nmessage A {}\n', "c.proto")).toBe(
      'import "b.proto"; // {why}\nimport "c.proto";\nmessage A {}\n',
    );
    expect(addImport("package a; message A {\n}\n", "c.proto")).toBe(
      'package a;\nimport "c.proto"; message A {\n}\n',
    );
    expect(addImport("package a; /* more\n of it */\n", "c.proto")).toBe(
      'package a;\nimport "c.proto"; /* more\n of it */\n',
    );
  });
});

describe("the comment of a field", () => {
  const text = `package acme;

// Of the crate.
// More of it.
message Crate {
  // Detached.

  // First line.
  //
  // Third; with = 1.
  string code = 1; // Beside.
  int64 weight = 2; // Of the weight.
  /*
   * In a block.
   */
  uint64 serial = 3;
  string bare = 4;
  oneof kind {
    // In a oneof.
    string a = 5;
  }
}
`;
  test.each([
    ["code", 1, ["First line.", "", "Third; with = 1."]],
    ["weight", 2, ["Of the weight."]],
    ["serial", 3, ["In a block."]],
    ["bare", 4, []],
    ["a", 5, ["In a oneof."]],
    ["missing", 6, []],
  ])("%s", (name, number, lines) => {
    expect(commentOf(text, crate, { name, number })).toEqual(lines);
  });

  test("and not of a field, called and numbered the same, of a message inside", () => {
    const outer = `message Crate {
  // Of what lies inside.
  message Lock {
    // Never to be told.
    string code = 1;
    oneof kind { string bare = 4; }
  }
  extend Lock { /* Nor this. */ string code = 1; }
  option (a.b) = {x: {y: 1}};
${text.slice(text.indexOf("  // Detached."))}`;
    expect(commentOf(outer, crate, { name: "code", number: 1 })).toEqual([
      "First line.",
      "",
      "Third; with = 1.",
    ]);
    expect(commentOf(outer, crate, { name: "a", number: 5 })).toEqual(["In a oneof."]);
    expect(commentOf(outer, crate, { name: "bare", number: 4 })).toEqual([]);
  });

  test("and of the message itself", () => {
    expect(commentOfType(text, crate)).toEqual(["Of the crate.", "More of it."]);
    expect(commentOfType("message Crate {}", crate)).toEqual([]);
  });

  test("is written again as it was", () => {
    expect(commentText(["One.", "", "Two."])).toBe("// One.\n//\n// Two.\n");
  });
});

import { create } from "@bufbuild/protobuf";
import {
  DescriptorProto_ExtensionRangeSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import type { PublicService } from "@portico/gateway";
import { expect, test } from "vitest";
import { rebuilt } from "../packages/gateway/src/testing/rebuilt.ts";
import { startGazette } from "./gazette.ts";
import { GazetteService } from "./gen/acme/api/gazette/v1/gazette_service_pb.ts";

// Extensions have no policy, and what is kept knows nothing of them: they do not get in, whatever the format.

test("an extension in JSON is refused, like a field that does not exist", async () => {
  await using gazette = await startGazette({ rebuild: withExtension });
  const extended = { name: "news", "[acme.api.gazette.v1.extra]": "a" };
  const { status, body } = await gazette.get("ReadIssue", extended);
  expect([status, body.toString()]).toEqual([400, expect.stringContaining("extra")]);
  expect(gazette.runs()).toBe(0);
  expect((await gazette.get("ReadIssue", { name: "news" })).status).toBe(200);
});

/** The same service, from protos in which its request can be extended, and is. */
function withExtension({ handlers }: PublicService): PublicService {
  const file = rebuilt(GazetteService.file, (proto) => {
    const request = proto.messageType.find(({ name }) => name === "ReadIssueRequest");
    if (proto.name !== GazetteService.file.proto.name || request === undefined) return;
    request.extensionRange.push(create(DescriptorProto_ExtensionRangeSchema, { start: 1_000, end: 2_000 }));
    proto.extension.push(
      create(FieldDescriptorProtoSchema, {
        name: "extra",
        number: 1_000,
        type: FieldDescriptorProto_Type.STRING,
        label: FieldDescriptorProto_Label.OPTIONAL,
        extendee: ".acme.api.gazette.v1.ReadIssueRequest",
        jsonName: "extra",
      }),
    );
  });
  const [desc] = file.services;
  if (desc === undefined) throw new Error("the service is gone");
  return { desc, handlers };
}

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromBinary, getOption } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { method as methodOption } from "../packages/gateway/src/gen/portico/v1/policy_pb.ts";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { internalFields, internalPackages, internalTypes, namesIn } from "./internal-names.ts";

// The SDK as it is published: packed, unpacked, and searched, the descriptors inside its code included.

const root = fileURLToPath(new URL("..", import.meta.url));
const services = [UsersService, OrdersService, InventoryService];
const access = readFileSync(join(root, "packages/gateway/src/app/access.json"), "utf8");
// Every permission there is: the gateway does not start unless methods, conditions and fields name these and no others.
const permissions = Object.keys(JSON.parse(access).permissions);
const conditions = services.flatMap(({ methods }) =>
  methods.flatMap((method) => getOption(method, methodOption).condition || []),
);
const forbidden = [
  ...["portico.v1", "portico/v1", "buf.validate", "buf/validate", "principal.", ...internalPackages],
  ...["@portico/gateway", "@portico/internal-mocks", "UPSTREAM_", root],
  // As words: `users.create` is not in `users.createUser`.
  ...permissions.map((name) => new RegExp(`\\b${name.replace(".", "\\.")}\\b`)),
  ...conditions,
];

let directory: string;
/** The content of each file in the tarball, by its path. */
let files: Map<string, string>;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "portico-sdk-"));
  const pack = ["-y", "pnpm@12", "--filter", "@portico/client-sdk", "pack", "--pack-destination", directory];
  execFileSync("npx", pack, { cwd: root, stdio: "pipe" });
  const [tarball = ""] = readdirSync(directory);
  execFileSync("tar", ["-xzf", join(directory, tarball), "-C", directory]);
  const packed = join(directory, "package");
  const entries = readdirSync(packed, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  files = new Map(
    entries.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [path.slice(packed.length + 1), readFileSync(path, "utf8")];
    }),
  );
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("the packed SDK", () => {
  test("has the public contract, and nothing but what runs and documents it", () => {
    expect([...files.keys()]).toContain("dist/index.js");
    const strange = [...files.keys()].filter(
      (path) => !/^(dist\/[\w./-]+\.(js|d\.ts)|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(path),
    );
    expect(strange).toEqual([]);
    expect([...files.keys()].filter((path) => /test|mock/.test(path))).toEqual([]);
  });

  test.each(forbidden)("has no %s in any file", (word) => {
    const found = [...files].filter(([, content]) => contains(content, word));
    expect(found.map(([path]) => path)).toEqual([]);
  });

  test.each(forbidden)("has no %s in the descriptors", (word) => {
    const found = descriptors().filter(({ bytes }) => contains(bytes.toString("latin1"), word));
    expect(found.map(({ path }) => path)).toEqual([]);
  });

  test("has no name of anything internal in any file", () => {
    expect(internalFields.length).toBeGreaterThan(0);
    expect(internalTypes.length).toBeGreaterThan(0);
    const found = [...files].flatMap(([path, content]) =>
      namesIn(content, [...internalFields, ...internalTypes]).map((name) => `${name} in ${path}`),
    );
    expect(found).toEqual([]);
  });

  test("has no name of anything internal in the descriptors", () => {
    const internal = new Set([...internalFields, ...internalTypes]);
    const found = descriptors().map(({ bytes }) =>
      declaredNames(fromBinary(FileDescriptorProtoSchema, bytes)),
    );
    expect(found.flat()).toContain("ListOrdersWithUserRequest");
    expect([...new Set(found.flat())].filter((name) => internal.has(name))).toEqual([]);
  });

  test("has descriptors of the public packages alone, without any option of a company's own", () => {
    const packages = descriptors().map(({ bytes }) => {
      const file = fromBinary(FileDescriptorProtoSchema, bytes);
      expect(optionsOfOthers(file)).toEqual([]);
      return file.package;
    });
    expect(packages.sort()).toEqual([
      "portico.api.v1",
      "smpl.api.inventory.v1",
      "smpl.api.orders.v1",
      "smpl.api.users.v1",
    ]);
  });
});

function contains(text: string, what: string | RegExp): boolean {
  return typeof what === "string" ? text.includes(what) : what.test(text);
}

/** What the generated code carries in base64. */
function descriptors(): { path: string; bytes: Buffer }[] {
  return [...files].flatMap(([path, content]) =>
    [...content.matchAll(/"([A-Za-z0-9+/]{80,}={0,2})"/g)].map(([, base64 = ""]) => ({
      path,
      bytes: Buffer.from(base64, "base64"),
    })),
  );
}

/** Where a descriptor has options, or anything else, that protobuf itself does not know: at any depth. */
function optionsOfOthers(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => optionsOfOthers(item, path));
  if (typeof value !== "object" || value === null) return [];
  const { name = "", $unknown, ...parts }: Record<string, unknown> = { ...value };
  const here = `${path} ${name}`;
  const inside = Object.entries(parts).flatMap(([key, part]) => optionsOfOthers(part, `${here} ${key}`));
  return Array.isArray($unknown) && $unknown.length > 0 ? [here, ...inside] : inside;
}

/** The names of all that a descriptor declares, at any depth. */
function declaredNames(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(declaredNames);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    (key === "name" || key === "jsonName") && typeof inner === "string" ? [inner] : declaredNames(inner),
  );
}

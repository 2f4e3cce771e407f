import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createGateway, loadConfig, type PublicService, service, view } from "@portico/gateway";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { upstreams } from "../packages/gateway/src/app/app.ts";
import { inventoryService } from "../packages/gateway/src/app/inventory.ts";
import { usersService } from "../packages/gateway/src/app/users.ts";
import * as pub from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import * as internal from "../packages/gateway/src/gen/smpl/orders/v1/orders_service_pb.ts";

// What is forgotten in the contract or in a view is found when the gateway starts, or when it is compiled.

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const src = join(root, "packages/gateway/src");

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "portico-start-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("a policy", () => {
  const proto = "proto/public/smpl/api/orders/v1/api_orders_service.proto";
  const option = '    option (portico.v1.method) = {permission: "orders.read"};\n';

  test("that is there lets the gateway start", async () => {
    const gateway = await start(await compile((text) => text));
    await gateway.drain();
  });

  test("that is removed stops it, with the words to write and the file to write them into", async () => {
    const services = await compile((text) => text.replace(option, ""));
    await expect(start(services)).rejects.toThrow(
      `Portico cannot start:
  - smpl.api.orders.v1.OrdersService.ListOrdersWithUser has no policy. Write into the rpc, in smpl/api/orders/v1/api_orders_service.proto:
      option (portico.v1.method) = {permission: "orders.read"};
    or {authenticated: true} for every caller with credentials, or {anonymous: true} for everyone;
    then run: npx -y pnpm@12 generate`,
    );
  });

  test("that is removed everywhere is reported everywhere, at once", async () => {
    const services = await compile((text) => text.replaceAll(/ {4}option \(portico[^;]*;\n/g, ""));
    const message = await start(services).then(String, String);
    for (const method of ["ListOrdersWithUser", "GetOrderWithUser", "CreateOrder", "WatchOrdersWithUser"])
      expect(message).toContain(`smpl.api.orders.v1.OrdersService.${method} has no policy.`);
  });

  test.each([
    ["{}", /ListOrdersWithUser has a policy that does not say who may call it\. Write into the rpc/],
    ["{anonymous: false}", /ListOrdersWithUser: \(portico\.v1\.method\)\.anonymous: must equal true/],
    ["{authenticated: false}", /ListOrdersWithUser: \(portico\.v1\.method\)\.authenticated: must equal true/],
    [
      '{permission: ""}',
      /ListOrdersWithUser: \(portico\.v1\.method\)\.permission: must be lower-case words joined by dots/,
    ],
    [
      '{permission: "Orders Read"}',
      /\.permission: must be lower-case words joined by dots, such as "orders\.read"/,
    ],
    ['{permission: "*"}', /\.permission: must be lower-case words joined by dots/],
  ])("that says %s stops it", async (policy, says) => {
    const services = await compile((text) => text.replace('{permission: "orders.read"}', policy));
    await expect(start(services)).rejects.toThrow(says);
  });

  /** The orders service as buf compiles it from a changed proto. */
  async function compile(change: (text: string) => string): Promise<PublicService[]> {
    const copy = mkdtempSync(join(directory, "proto-"));
    for (const part of ["proto", "third_party"])
      cpSync(join(root, part), join(copy, part), { recursive: true });
    const modules = ["proto/public", "proto/internal", "third_party"]
      .map((path) => `  - path: ${path}\n`)
      .join("");
    writeFileSync(
      join(copy, "buf.yaml"),
      `version: v2\nmodules:\n${modules}  - path: proto\n    includes: [proto/portico]\n`,
    );
    const text = readFileSync(join(copy, proto), "utf8");
    writeFileSync(join(copy, proto), change(text));
    await run(join(root, "node_modules/.bin/buf"), ["build", "-o", "image.binpb"], { cwd: copy });
    const files = fromBinary(FileDescriptorSetSchema, readFileSync(join(copy, "image.binpb")));
    const desc = createFileRegistry(files).getService("smpl.api.orders.v1.OrdersService");
    if (desc === undefined) throw new Error("the image has no orders service");
    return [usersService, withEmptyHandlers(desc), inventoryService];
  }

  function withEmptyHandlers(desc: DescService): PublicService {
    const handlers = Object.fromEntries(desc.methods.map(({ localName }) => [localName, () => ({})]));
    // The compiler does not know the methods of a service that was read at run time.
    return Reflect.apply(service, undefined, [desc, handlers]);
  }

  function start(services: PublicService[]) {
    const environment = {
      PORTICO_MODE: "demo",
      ACCESS_FILE: join(src, "app/access.json"),
      UPSTREAM_USERS: "http://127.0.0.1:1",
      UPSTREAM_ORDERS: "http://127.0.0.1:1",
      UPSTREAM_INVENTORY: "http://127.0.0.1:1",
    };
    const config = loadConfig(environment, ["users", "orders", "inventory"]);
    return createGateway({ config, services, upstreams, log: pino({ level: "silent" }) });
  }
});

describe("a view", () => {
  const views = readFileSync(join(src, "app/views.ts"), "utf8");

  test("that is whole compiles", async () => {
    expect(await compileErrors(views)).toBe("");
  }, 120_000);

  test.each([
    ["userEmail", / {2}userEmail: related.*\n/],
    ["total", / {2}total: nested.*\n/],
    ["lineItems", / {2}lineItems: nested.*\n/],
    ["status", / {2}status: .*\n/],
    ["unitPrice", / {2}unitPrice: nested.*\n/],
    ["items", / {2}items: related.*\n/],
    ["user", / {2}user: itself.*\n/],
  ])(
    "without a source of %s does not compile, and the error names it",
    async (field, block) => {
      const changed = views.replace(block, "");
      expect(changed).not.toBe(views);
      const errors = await compileErrors(changed);
      expect(errors).toMatch(/views\.ts\(\d+,\d+\): error TS/);
      expect(errors).toMatch(new RegExp(`\\b${field}\\b`));
    },
    120_000,
  );

  test("with a source of a field that does not exist does not compile", async () => {
    const errors = await compileErrors(
      views.replace("  total: nested", '  totals: "product",\n  total: nested'),
    );
    expect(errors).toContain("totals");
  }, 120_000);

  test.each([
    ["a path of another type", '"product"', /Source<Order, OrderStatus>/],
    ["a path that leads nowhere", '"stauts"', /stauts/],
    ["a value of another type", 'computed(["product"], (product) => product)', /string/],
  ])(
    "with %s does not compile",
    async (_, source, error) => {
      const changed = views
        .replace(/ {2}status: .*\n/, `  status: ${source},\n`)
        .replace("import { enumByName", "import { computed, enumByName");
      expect(await compileErrors(changed)).toMatch(error);
    },
    120_000,
  );

  test("is checked again at run time, all fields at once, for those who have no compiler", () => {
    const make = () => Reflect.apply(view, undefined, [internal.OrderSchema, pub.OrderSchema, {}]);
    expect(make).toThrow(/^Portico cannot start:\n/);
    for (const field of ["user_email", "total", "line_items", "status"])
      expect(make).toThrow(
        new RegExp(
          `smpl\\.api\\.orders\\.v1\\.Order\\.${field} has no source in its view of smpl\\.orders\\.v1\\.Order: .*Write: `,
        ),
      );
    expect(make).not.toThrow(/Order\.(id|product|user_id|create_time) /);
  });

  /** What the compiler says about a changed `app/views.ts`; nothing if it is content. */
  async function compileErrors(text: string): Promise<string> {
    const project = mkdtempSync(join(directory, "views-"));
    const to = relative(project, src);
    const moved = text.replaceAll('"../', `"${to}/`).replaceAll('"./', `"${to}/app/`);
    writeFileSync(join(project, "views.ts"), moved);
    writeFileSync(join(project, "package.json"), '{ "type": "module" }');
    const compilerOptions = {
      types: ["node"],
      typeRoots: [join(root, "node_modules/@types")],
    };
    const config = { extends: join(root, "tsconfig.base.json"), compilerOptions, files: ["views.ts"] };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify(config));
    const tsc = run(join(root, "node_modules/.bin/tsc"), ["-p", project, "--pretty", "false"]);
    return tsc.then(
      ({ stdout }) => stdout,
      (error: { stdout?: string }) => error.stdout ?? String(error),
    );
  }
});

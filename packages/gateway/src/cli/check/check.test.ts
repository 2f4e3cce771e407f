import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { App } from "../../application.ts";
import { StartError } from "../../errors.ts";
import { service } from "../../service.ts";
import { internal, pub } from "../../testing/protos.ts";
import { crateView, scansBySerial, warehouseService } from "../../testing/warehouse.ts";
import { upstream } from "../../upstream/upstream.ts";
import { type ProgramIo, runCommand } from "../command.ts";

const whole: App = {
  services: [warehouseService],
  upstreams: [upstream("warehouse", internal.WarehouseService, { timeoutMs: 100 })],
  views: [crateView],
  loaders: [scansBySerial],
  requests: [],
};
const slow: App = { ...whole, upstreams: [upstream("warehouse", internal.WarehouseService)] };

async function check(
  args: string,
  { app = whole, ...parts }: { app?: App } & Partial<Omit<ProgramIo, "app">> = {},
) {
  return run(args, { ...parts, app: async () => app });
}

async function run(args: string, parts: Partial<ProgramIo>) {
  let [out, err] = ["", ""];
  const code = await runCommand(["check", ...args.split(" ").filter(Boolean)], {
    env: {},
    app: async () => whole,
    project: { appFolder: "/nowhere", run: async () => ({ code: 1, output: "" }) },
    now: () => 0,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    ...parts,
  });
  return { code, out, err };
}

function accessFile(access: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), "portico-check-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "access.json"), JSON.stringify(access));
  return join(folder, "access.json");
}

describe("portico check", () => {
  test("finds nothing", async () => {
    expect(await check("")).toEqual({ code: 0, out: "Nothing is wrong.\n", err: "" });
    expect(JSON.parse((await check("--format json")).out)).toEqual({ problems: [], warnings: [] });
  });

  test("passes with warnings, but not if it is to be strict", async () => {
    const { code, out } = await check("", { app: slow });
    expect(code).toBe(0);
    expect(out).toMatch(
      /^Warnings:\n {2}- upstream warehouse has no timeoutMs of its own.*\n {4}write .*\n$/,
    );
    expect(await check("--strict", { app: slow })).toEqual({ code: 1, out, err: "" });
    expect(JSON.parse((await check("--format json", { app: slow })).out)).toMatchObject({
      warnings: [{ place: "upstream warehouse" }],
    });
  });

  test("fails for all that would keep the gateway from starting, at once", async () => {
    const broken = service(pub.BrokenService, {
      forgotten: () => ({}),
      empty: () => ({}),
      denied: () => ({}),
      shouted: () => ({}),
    });
    const { code, out } = await check("--env", {
      app: { ...whole, services: [broken] },
      env: { PORT: "abc", UPSTREAM_OTHER: "http://a:1" },
    });
    expect(code).toBe(1);
    expect(out).toMatch(/^Portico cannot start:\n {2}- /);
    for (const says of [
      "BrokenService.Forgotten has no policy",
      'PORT is "abc"',
      "UPSTREAM_WAREHOUSE is not set",
      "UPSTREAM_OTHER belongs to no upstream",
    ])
      expect(out).toContain(says);
  });

  test("looks at no variables but ACCESS_FILE, unless asked", async () => {
    expect(await check("", { env: { PORT: "abc" } })).toMatchObject({ code: 0 });
    const file = accessFile({ roles: { keeper: ["boxes.read"] } });
    const { code, out } = await check("", { env: { ACCESS_FILE: file } });
    expect(code).toBe(1);
    expect(out).toContain("boxes.read is no permission of this API");
    expect((await check("", { env: { ACCESS_FILE: "/nowhere/access.json" } })).out).toContain(
      "cannot be read",
    );
  });

  test.each([
    [
      "what a view refuses",
      new StartError(["a view has a gap", "and another one"]),
      ["a view has a gap", "and another one"],
    ],
    [
      "what a module throws",
      new TypeError("max must be 1"),
      [expect.stringMatching(/^The API cannot be loaded: max must be 1 \(.*check\.test\.ts:\d+\)$/)],
    ],
  ])("says why the API does not load: %s", async (_, error, problems) => {
    const app = async () => {
      throw error;
    };
    const { code, out } = await run("--format json", { app });
    expect(code).toBe(1);
    expect(JSON.parse(out)).toEqual({ problems, warnings: [] });
  });

  test.each([
    ["--format pdf", '--format is "pdf": give text, json'],
    ["--strickt", "Unknown option '--strickt'"],
    ["app", "Unexpected argument 'app'"],
  ])("does not understand %s", async (args, says) => {
    const { code, err } = await check(args);
    expect(code).toBe(2);
    expect(err).toContain(says);
  });
});

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { StartError } from "../errors.ts";
import { type PublicService, service } from "../service.ts";
import { internal, pub } from "../testing/protos.ts";
import { type ProgramIo, runCommand } from "./command.ts";

const nothing = () => ({});
async function* noStream() {}
const warehouse = service(pub.WarehouseService, {
  getStatus: nothing,
  getCrate: nothing,
  listCrates: nothing,
  storeCrates: nothing,
  watchCrates: noStream,
});
const broken = service(pub.BrokenService, {
  forgotten: nothing,
  empty: nothing,
  denied: nothing,
  shouted: nothing,
});

const appOf =
  (...services: readonly PublicService[]) =>
  async () => ({ services, upstreams: [], views: [], loaders: [], requests: [] });

/** A shell in an empty folder, with an access file. */
function openShell(access: unknown = { roles: { keeper: ["crates.*"] } }) {
  const folder = mkdtempSync(join(tmpdir(), "portico-command-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const accessFile = join(folder, "access.json");
  writeFileSync(accessFile, typeof access === "string" ? access : JSON.stringify(access));
  async function run(args: string, parts: Partial<ProgramIo> = {}) {
    let [out, err] = ["", ""];
    const code = await runCommand(args.split(" ").filter(Boolean), {
      env: { ACCESS_FILE: accessFile },
      app: appOf(warehouse),
      project: { appFolder: folder, run: async () => ({ code: 1, output: "no programs here" }) },
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
  return { folder, accessFile, run };
}

describe("portico", () => {
  test.each(["--help", "-h", "help"])("%s lists the commands", async (flag) => {
    const { code, out, err } = await openShell().run(flag);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const name of ["matrix", "plan", "check", "drift", "expose", "keys", "errors"])
      expect(out).toMatch(new RegExp(`^ {2}${name} +\\w`, "m"));
  });

  test.each(["matrx", "constructor", "--port", "serve now"])(
    "%s is no command: the others are listed",
    async (args) => {
      const { code, out, err } = await openShell().run(args);
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(err).toContain(`"${args.split(" ")[0]}" is no command.\n`);
      expect(err).toMatch(/^ {2}matrix +\w/m);
    },
  );

  test("runs keys, which has its own words", async () => {
    const { run, folder } = openShell();
    const created = await run(`keys create --name Acme --roles keeper --file ${folder}/keys.json`);
    expect(created).toMatchObject({ code: 0, out: expect.stringMatching(/^ptk_/) });
    expect(await run("keys")).toMatchObject({ code: 2 });
  });

  test("does not load the API for who does not need it", async () => {
    const app = async () => {
      throw new Error("nobody asked");
    };
    for (const args of ["--help", "matrix --help", "errors", "matrix --format pdf"])
      await openShell().run(args, { app });
  });
});

describe("portico errors", () => {
  test("prints the page, or writes it", async () => {
    const { run, folder } = openShell();
    const { out } = await run("errors");
    expect(out).toMatch(/^# Errors\n/);
    expect(await run(`errors --out ${folder}/errors.md`)).toEqual({ code: 0, out: "", err: "" });
    expect(readFileSync(`${folder}/errors.md`, "utf8")).toBe(out);
  });
});

describe("portico matrix", () => {
  test("prints text by default, and JSON and HTML when asked", async () => {
    const { run } = openShell();
    expect((await run("matrix")).out).toMatch(/^ {2}StoreCrates +- +- +yes +crates\.store/m);
    expect(await run("matrix --format text")).toEqual(await run("matrix"));
    expect(JSON.parse((await run("matrix --format json")).out)).toMatchObject({
      subjects: [{ name: "anonymous" }, { name: "authenticated" }, { name: "keeper", kind: "role" }],
    });
    expect((await run("matrix --format html")).out).toMatch(/^<!doctype html>\n/);
  });

  test("writes into a file and prints nothing", async () => {
    const { run, folder } = openShell();
    const { out } = await run("matrix");
    expect(await run(`matrix --out ${folder}/matrix.txt`)).toEqual({ code: 0, out: "", err: "" });
    expect(readFileSync(`${folder}/matrix.txt`, "utf8")).toBe(out);
  });

  test("says what a file that cannot be written is called", async () => {
    const { run, folder } = openShell();
    const { code, err } = await run(`matrix --out ${folder}/nowhere/matrix.txt`);
    expect(code).toBe(1);
    expect(err).toContain(`${folder}/nowhere/matrix.txt`);
    expect(err).not.toContain("    at ");
  });

  test.each([
    ["matrix --format pdf", '--format is "pdf": give text, json, html'],
    ["matrix --format constructor", '--format is "constructor"'],
    ["matrix --fromat text", "Unknown option '--fromat'"],
    ["matrix json", "Unexpected argument 'json'"],
    ["matrix --out", "argument missing"],
  ])("does not understand: %s", async (args, says) => {
    const { code, out, err } = await openShell().run(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(says);
    expect(err).toContain('"portico matrix --help" tells more.');
  });

  test.each([{}, { ACCESS_FILE: "" }])("asks for the access file if the variables are %j", async (env) => {
    const { code, err } = await openShell().run("matrix", { env });
    expect(code).toBe(2);
    expect(err).toContain("ACCESS_FILE is not set: write the path of a JSON file");
  });
});

describe("what would stop the gateway from starting stops the matrix, in the same words", () => {
  test("an access file that is not there", async () => {
    const { run, folder } = openShell();
    const { code, out, err } = await run("matrix", { env: { ACCESS_FILE: `${folder}/none.json` } });
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(
      /^Portico cannot start:\n {2}- ACCESS_FILE is ".*none\.json", which cannot be read: ENOENT/,
    );
  });

  test.each([
    ["is not JSON", "{", /ACCESS_FILE \(.*access\.json\) is not JSON/],
    [
      "has an unknown permission",
      { roles: { a: ["crates.*", "boxes.read"] } },
      /boxes\.read is no permission of this API/,
    ],
    ["leaves out a permission", { roles: { a: ["crates.read"] } }, /asks for crates\.store, which no role/],
  ])("an access file that %s", async (_, access, says) => {
    const { code, out, err } = await openShell(access).run("matrix");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(/^Portico cannot start:\n {2}- /);
    expect(err).toMatch(says);
  });

  test("a method without a policy", async () => {
    const { code, err } = await openShell().run("matrix", { app: appOf(broken) });
    expect(code).toBe(1);
    expect(err).toContain("BrokenService.Forgotten has no policy. Write into the rpc");
  });

  test("an app that cannot be made", async () => {
    const app = async () => {
      throw new StartError(["a view has a gap"]);
    };
    const { code, err } = await openShell().run("matrix", { app });
    expect({ code, err }).toEqual({ code: 1, err: "Portico cannot start:\n  - a view has a gap\n" });
  });

  test.each(["matrix", "plan", "check", "drift", "expose a.B.c --as B.c"])(
    "an app with a mistake in its code, which %s names with its place, and without a stack trace",
    async (args) => {
      const app = async () => {
        throw new TypeError("undefined is not a function");
      };
      const { code, out, err } = await openShell().run(args, { app });
      expect(code).toBe(1);
      expect(out + err).toMatch(
        /^Portico cannot start:\n {2}- The API cannot be loaded: undefined is not a function \(.*command\.test\.ts:\d+\)\n$/,
      );
    },
  );

  test.each(["matrix", "plan", "check", "drift", "expose a.B.c --as B.c"])(
    "a view that is declared late and does not fit, which %s names with its field",
    async (args) => {
      const late = () => {
        throw new StartError(["the view takes acme.v1.Slot, the field is acme.v1.Crate"]);
      };
      const contents = {
        kind: "nested",
        reads: ["contents"],
        get view() {
          return late();
        },
      } as const;
      const views = [{ from: internal.CrateSchema, to: pub.CrateSchema, fields: { contents } }];
      const app = async () => ({ ...(await appOf(warehouse)()), views });
      const { code, out, err } = await openShell().run(args, { app });
      expect(code).toBe(1);
      expect(out + err).toBe(
        "Portico cannot start:\n  - acme.api.warehouse.v1.Crate.contents, in its request map of acme.internal.warehouse.v1.Crate: " +
          "contents: the view takes acme.v1.Slot, the field is acme.v1.Crate\n",
      );
    },
  );
});

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { StartError } from "../../errors.ts";
import { crateView, scansBySerial, warehouse } from "../../testing/warehouse.ts";
import { type ProgramIo, runCommand } from "../command.ts";

const prefix = "acme.internal.warehouse.v1";

/** A folder with an API over the warehouse, and with this ledger. */
function openShell(ledger?: unknown) {
  const folder = mkdtempSync(join(tmpdir(), "portico-drift-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "ledger.json");
  if (ledger !== undefined) writeFileSync(path, typeof ledger === "string" ? ledger : JSON.stringify(ledger));
  async function run(args: readonly string[], parts: Partial<ProgramIo> = {}) {
    let [out, err] = ["", ""];
    const code = await runCommand(["drift", ...args], {
      env: {},
      app: async () => ({
        services: [],
        upstreams: [warehouse],
        views: [crateView],
        loaders: [scansBySerial],
        requests: [],
      }),
      project: { appFolder: folder, run: async () => ({ code: 1, output: "" }) },
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
  return { path, run, ledger: () => readFileSync(path, "utf8") };
}

/** A ledger in which everything else is decided. */
async function wholeLedger() {
  const { out } = await openShell().run(["--format", "json"]);
  const report: { undecided: { name: string }[] } = JSON.parse(out);
  const names = report.undecided
    .map(({ name }) => name)
    .filter((name) => !name.startsWith(`${prefix}.Crate.`));
  const handled = Object.fromEntries(names.map((name) => [name, "somewhere"]));
  const { out: inner } = await openShell({ handled }).run(["--format", "json"]);
  const rest: { undecided: { name: string }[] } = JSON.parse(inner);
  return { handled, hidden: Object.fromEntries(rest.undecided.map(({ name }) => [name, "ours alone"])) };
}

describe("portico drift", () => {
  test("passes if everything is decided, and says how much of it there is", async () => {
    const { code, out, err } = await openShell(await wholeLedger()).run([]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(
      /^\d+ internal fields and values: \d+ exposed, \d+ used, \d+ hidden, \d+ handled, 0 undecided\.\n$/,
    );
  });

  test("fails for what is undecided, with the command and the line that decide it", async () => {
    const ledger = await wholeLedger();
    delete ledger.hidden[`${prefix}.Crate.secret_note`];
    const { code, out } = await openShell(ledger).run([]);
    expect(code).toBe(1);
    expect(out).toContain(`
  ${prefix}.Crate.secret_note
    portico expose ${prefix}.Crate.secret_note --as acme.api.warehouse.v1.Crate.secret_note
    "${prefix}.Crate.secret_note": "<the reason>"
`);
    expect(out).toContain("1 undecided.");
  });

  test("fails for a ledger that says what is not so", async () => {
    const ledger = await wholeLedger();
    const { code, out } = await openShell({
      ...ledger,
      hidden: { ...ledger.hidden, [`${prefix}.Gone.*`]: "x" },
    }).run([]);
    expect(code).toBe(1);
    expect(out).toContain(
      `hidden: ${prefix}.Gone.* is nothing that the internal services have: remove the line\n`,
    );
  });

  test("lists everything with where it is decided, if asked", async () => {
    const { out } = await openShell(await wholeLedger()).run(["--all"]);
    expect(out).toContain(`exposed    ${prefix}.Crate.code: acme.api.warehouse.v1.Crate.code\n`);
    expect(out).toContain(
      `hidden     ${prefix}.Secret.combination with ${prefix}.Crate.secret: ours alone\n`,
    );
  });

  test("takes a ledger from elsewhere", async () => {
    const { path } = openShell(await wholeLedger());
    expect(await openShell().run(["--ledger", path])).toMatchObject({ code: 0 });
  });

  test.each([
    ["is not JSON", "{", /is not JSON/],
    ["has an entry without a reason", { hidden: { [`${prefix}.Crate.code`]: " " } }, /write the reason/],
    ["has a section of another name", { secret: {} }, /secret/],
  ])("says what is wrong with a ledger that %s", async (_, ledger, says) => {
    const { code, out, err } = await openShell(ledger).run([]);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(says);
    expect(err).toMatch(/ledger\.json/);
    expect(err).not.toContain("cannot start");
  });

  test.each([
    [
      "a view that a changed proto breaks",
      new StartError(["Crate has no field code"]),
      "Crate has no field code",
    ],
    ["a schema that is gone", new SyntaxError("does not provide an export named 'X'"), "an export named 'X'"],
  ])("says what keeps the API from loading: %s", async (_, error, says) => {
    const app = async () => {
      throw error;
    };
    const { code, err } = await openShell().run([], { app });
    expect(code).toBe(1);
    expect(err).toContain(says);
  });
});

describe("portico drift --hide", () => {
  test("writes the line in its place", async () => {
    const { run, ledger } = openShell({ hidden: { "a.Z": "z", "a.A": "a" }, handled: { "b.B": "b" } });
    const name = `${prefix}.Crate.secret_note`;
    expect(await run(["--hide", name, "--because", " ours alone "])).toEqual({ code: 0, out: "", err: "" });
    expect(ledger()).toBe(`{
  "hidden": {
    "a.A": "a",
    "a.Z": "z",
    "${name}": "ours alone"
  },
  "handled": {
    "b.B": "b"
  }
}
`);
  });

  test("begins a ledger", async () => {
    const { run, ledger } = openShell();
    await run(["--hide", `${prefix}.Secret.*`, "--because", "a safe"]);
    expect(JSON.parse(ledger())).toEqual({ hidden: { [`${prefix}.Secret.*`]: "a safe" }, handled: {} });
  });

  test.each([
    [["--hide", `${prefix}.Crate.gone`, "--because", "x"], "which the internal services do not have"],
    [["--hide", `${prefix}.Crate.code`], "--because is not given"],
    [["--hide", `${prefix}.Crate.code`, "--because", "x"], "is exposed as acme.api.warehouse.v1.Crate.code"],
    [["--because", "x"], "--because goes with --hide"],
    [["--format", "pdf"], '--format is "pdf": give text, json'],
    [["now"], "Unexpected argument 'now'"],
  ])("does not understand %j", async (args, says) => {
    const { code, err } = await openShell().run(args);
    expect(code).toBe(2);
    expect(err).toContain(says);
  });
});

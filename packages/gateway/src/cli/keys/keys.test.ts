import { createHash } from "node:crypto";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createApiKeyVerifier, parseApiKeys } from "../../policy/identity/api-keys.ts";
import { keysCommand } from "./keys.ts";

const start = Date.parse("2026-06-01T12:00:00Z");
const acme = ["create", "--name", "Acme", "--roles", "viewer,support"];

/** A shell in an empty folder, with the variable set to a file that is not there yet. */
function openShell(env: Record<string, string | undefined> = {}, now = () => start) {
  const folder = mkdtempSync(join(tmpdir(), "portico-keys-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "keys.json");
  async function run(...args: string[]) {
    let [out, err] = ["", ""];
    const code = await keysCommand(args, {
      env: { API_KEYS_FILE: path, ...env },
      now,
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
    });
    return { code, out, err };
  }
  const keys = () => parseApiKeys(readFileSync(path, "utf8"), "keys.json");
  return { folder, path, run, keys };
}

describe("create", () => {
  test("prints a key that works, alone, and keeps only its hash in a file for the owner's eyes", async () => {
    const { path, run, keys } = openShell();
    const { code, out, err } = await run(
      ...acme,
      "--tenant",
      "acme",
      "--expires",
      "90d",
      "--limit",
      "100/1m",
    );
    expect(code).toBe(0);
    expect(out).toMatch(/^ptk_[a-z0-9]{12}_[A-Za-z0-9_-]{43}\n$/);
    const key = out.trim();
    expect(err).toContain("is shown only now");
    expect(err).not.toContain(key);
    expect(readFileSync(path, "utf8")).not.toContain(key.slice(17));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(keys().entries).toEqual([
      {
        id: key.slice(4, 16),
        name: "Acme",
        sha256: createHash("sha256").update(key).digest("hex"),
        roles: ["viewer", "support"],
        tenant: "acme",
        createdAt: "2026-06-01T12:00:00.000Z",
        expiresAt: "2026-08-30T12:00:00.000Z",
        limits: ["100/1m"],
      },
    ]);
    expect(createApiKeyVerifier(keys, { now: () => start })(key)).toMatchObject({ tenant: "acme" });
  });

  test("keeps what is there, and takes a date and several limits", async () => {
    const { run, keys } = openShell();
    await run(...acme);
    const args = ["--expires", "2027-01-31", "--limit", "100/1m", "--limit", "5/1s, 1000/1d"];
    expect((await run("create", "--name", "Beta", "--roles", "viewer", ...args)).code).toBe(0);
    expect(keys().entries).toMatchObject([
      { name: "Acme", roles: ["viewer", "support"] },
      { name: "Beta", expiresAt: "2027-01-31T00:00:00.000Z", limits: ["100/1m", "5/1s, 1000/1d"] },
    ]);
  });

  test("loses no key when many are created at once", async () => {
    const { folder, run, keys } = openShell();
    const runs = await Promise.all(Array.from({ length: 12 }, () => run(...acme)));
    const made = runs.map(({ out }) => out.slice(4, 16));
    expect(runs.map(({ code }) => code)).toEqual(made.map(() => 0));
    expect([...keys().byId.keys()].sort()).toEqual(made.sort());
    expect(readdirSync(folder), "neither locks nor drafts stay").toEqual(["keys.json"]);
  });

  test("leaves a symbolic link in its place", async () => {
    const { folder, path, run } = openShell();
    writeFileSync(join(folder, "real.json"), '{ "keys": [] }');
    symlinkSync("real.json", path);
    await run(...acme);
    expect(readdirSync(folder).sort()).toEqual(["keys.json", "real.json"]);
    expect(JSON.parse(readFileSync(join(folder, "real.json"), "utf8")).keys).toHaveLength(1);
  });

  test.each(["", "{", '{ "keys": [{ "id": "x" }] }'])("leaves a broken file as it is: %j", async (text) => {
    const { folder, path, run } = openShell();
    writeFileSync(path, text);
    const { code, out, err } = await run(...acme);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain(`API_KEYS_FILE (${path})`);
    expect(err).not.toContain("Portico cannot start");
    expect(readFileSync(path, "utf8")).toBe(text);
    expect(readdirSync(folder)).toEqual(["keys.json"]);
  });

  test("prints no key that it could not store", async () => {
    const { folder, run } = openShell();
    const { code, out, err } = await run(...acme, "--file", join(folder, "missing", "keys.json"));
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain("ENOENT");
  });

  test("gives up when another command holds the file for long, and says what to do", async () => {
    let now = start;
    const { path, run } = openShell({}, () => {
      now += 1_000;
      return now;
    });
    writeFileSync(`${path}.lock`, "");
    const { code, out, err } = await run(...acme);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toBe(
      `${path}.lock is there: another command is at work. If there is none, delete that file.\n`,
    );
  });

  test("narrows the mode of a file that was open to others", async () => {
    const { path, run } = openShell();
    writeFileSync(path, '{ "keys": [] }');
    chmodSync(path, 0o644);
    await run(...acme);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test.each<[string, string[], RegExp]>([
    ["no name", ["--roles", "a"], /^--name is missing/],
    ["an empty name", ["--name", "", "--roles", "a"], /^--name: must be a text/],
    ["a name with a control character", ["--name", "a\u001b[2J", "--roles", "a"], /^--name: must be a text/],
    ["no roles", ["--name", "a"], /^--roles is missing: give roles joined by commas/],
    ["an empty role", ["--name", "a", "--roles", "a,"], /^--roles is "a,": give/],
    ["an odd limit", [...acme.slice(1), "--limit", "fast"], /^--limit: must be calls in a time/],
    ["an odd tenant", [...acme.slice(1), "--tenant", " "], /^--tenant: must be a text/],
    ["no days", [...acme.slice(1), "--expires", "0d"], /^--expires is "0d": give days such as 90d/],
    ["another unit", [...acme.slice(1), "--expires", "3w"], /^--expires is "3w"/],
    ["a day that there is not", [...acme.slice(1), "--expires", "2027-02-30"], /^--expires is "2027-02-30"/],
    ["a day that is past", [...acme.slice(1), "--expires", "2026-06-01"], /^--expires is "2026-06-01"/],
    ["an unknown flag", [...acme.slice(1), "--role", "a"], /^Unknown option '--role'/],
    ["a flag without its value", ["--roles", "a", "--name"], /--name/],
    ["a word too many", [...acme.slice(1), "Beta"], /Beta/],
  ])("refuses %s", async (_, args, message) => {
    const { folder, run } = openShell();
    const { code, out, err } = await run("create", ...args);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([2, ""]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("refuses roles that the access file does not have", async () => {
    const { folder } = openShell();
    const access = join(folder, "access.json");
    writeFileSync(access, '{ "roles": { "viewer": ["*"], "admin": ["*"] } }');
    const { run } = openShell({ ACCESS_FILE: access });
    const { code, err } = await run("create", "--name", "Acme", "--roles", "viewer,suport,constructor");
    expect(code).toBe(2);
    expect(err).toContain(
      `--roles: "suport", "constructor" is no role of ACCESS_FILE (${access}): it has admin, viewer\n`,
    );
    expect((await run("create", "--name", "Acme", "--roles", "viewer")).code).toBe(0);
    writeFileSync(access, "{");
    const broken = await run("create", "--name", "Acme", "--roles", "viewer");
    expect(broken.code).toBe(1);
    expect(broken.err).toContain(`ACCESS_FILE (${access}) is not JSON`);
  });
});

describe("list", () => {
  async function filled() {
    let now = start;
    const shell = openShell({}, () => now);
    await shell.run(...acme, "--tenant", "acme");
    await shell.run("create", "--name", "Beta", "--roles", "viewer", "--expires", "1d");
    await shell.run("create", "--name", "Gamma", "--roles", "viewer", "--expires", "2027-01-31");
    const [a, b, c] = shell.keys().entries.map(({ id }) => id);
    await shell.run("revoke", c ?? "");
    now += 86_400_000;
    return { ...shell, ids: [a, b, c] };
  }

  test("shows a table with the state of each key", async () => {
    const { run, ids } = await filled();
    const { code, out } = await run("list");
    expect(code).toBe(0);
    expect(out.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["ID", "NAME", "ROLES", "TENANT", "CREATED", "EXPIRES", "STATE"],
      [ids[0], "Acme", "viewer,support", "acme", "2026-06-01", "never", "active"],
      [ids[1], "Beta", "viewer", "-", "2026-06-01", "2026-06-02", "expired"],
      [ids[2], "Gamma", "viewer", "-", "2026-06-01", "2027-01-31", "revoked"],
      [""],
    ]);
  });

  test("gives JSON with all facts but the hashes", async () => {
    const { run, ids } = await filled();
    const { out } = await run("list", "--json");
    expect(JSON.parse(out)).toMatchObject([
      { id: ids[0], tenant: "acme", state: "active" },
      { id: ids[1], expiresAt: "2026-06-02T12:00:00.000Z", state: "expired" },
      { id: ids[2], revokedAt: "2026-06-01T12:00:00.000Z", state: "revoked" },
    ]);
  });

  test("shows no hash, in either form", async () => {
    const { run, keys } = await filled();
    for (const out of [(await run("list")).out, (await run("list", "--json")).out]) {
      expect(out).not.toContain("sha256");
      for (const { sha256 } of keys().entries) expect(out).not.toContain(sha256);
    }
  });

  test("of a file that is not there says so: its path may be wrong", async () => {
    const { path, run } = openShell();
    expect(await run("list")).toEqual({
      code: 1,
      out: "",
      err: `API_KEYS_FILE (${path}) is not there: "portico keys create" makes it\n`,
    });
  });
});

describe("revoke", () => {
  test("ends a key and keeps its entry; a second time changes nothing", async () => {
    let now = start;
    const { path, run, keys } = openShell({}, () => now);
    const key = (await run(...acme)).out.trim();
    await run("create", "--name", "Beta", "--roles", "viewer");
    const id = key.slice(4, 16);
    expect(await run("revoke", id)).toEqual({ code: 0, out: `The API key ${id} is revoked.\n`, err: "" });
    expect(() => createApiKeyVerifier(keys)(key)).toThrow("The API key is not valid.");
    expect(keys().entries).toMatchObject([{ id, revokedAt: "2026-06-01T12:00:00.000Z" }, { name: "Beta" }]);
    expect(keys().entries[1]).not.toHaveProperty("revokedAt");
    const before = readFileSync(path, "utf8");
    now += 1_000;
    expect((await run("revoke", id)).out).toBe(
      `The API key ${id} was revoked at 2026-06-01T12:00:00.000Z.\n`,
    );
    expect(readFileSync(path, "utf8")).toBe(before);
  });

  test("of an unknown key fails, and makes no file", async () => {
    const { folder, path, run } = openShell();
    const { code, err } = await run("revoke", "abcdefghij01");
    expect([code, err]).toEqual([
      1,
      `API_KEYS_FILE (${path}) has no key abcdefghij01: see "portico keys list"\n`,
    ]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each([[[]], [["abc"]], [["abcdefghij01", "abcdefghij02"]], [[`ptk_abcdefghij01_${"s".repeat(43)}`]]])(
    "asks for one id, and does not repeat what may be a key: %j",
    async (args) => {
      const { run } = openShell();
      const { code, err } = await run("revoke", ...args);
      expect(code).toBe(2);
      expect(err).toMatch(/^revoke takes one id: the 12 characters/);
      expect(err).not.toContain("sss");
    },
  );
});

describe("the command", () => {
  test.each([["--help"], ["-h"], ["help"], ["create", "--help"], ["revoke", "-h"]])(
    "explains itself: %s %s",
    async (...args) => {
      const { code, out, err } = await openShell({ API_KEYS_FILE: undefined }).run(...args.filter(Boolean));
      expect([code, err]).toEqual([0, ""]);
      for (const word of ["create", "list", "revoke", "--name", "--expires", "API_KEYS_FILE"])
        expect(out).toContain(word);
    },
  );

  test.each([[[]], [["delete"]], [["constructor"]]])("refuses what is no command: %j", async (args) => {
    const { code, err } = await openShell().run(...args);
    expect(code).toBe(2);
    expect(err).toMatch(/is no command: give create, list or revoke\n"portico keys --help" tells more\.\n$/);
  });

  test.each([undefined, ""])("asks for the file if the variable is %j", async (API_KEYS_FILE) => {
    const { code, err } = await openShell({ API_KEYS_FILE }).run("list");
    expect(code).toBe(2);
    expect(err).toMatch(/^API_KEYS_FILE is not set: set it to the path of the file of keys, or give --file/);
  });

  test("prefers --file to the variable", async () => {
    const { folder, run } = openShell();
    await run(...acme, "--file", join(folder, "other.json"));
    expect(readdirSync(folder)).toEqual(["other.json"]);
  });
});

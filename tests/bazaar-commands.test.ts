import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type ProgramIo, runCommand } from "../packages/gateway/src/cli/command.ts";
import { app } from "./bazaar/app.ts";
import { isSecret } from "./bazaar/canaries.ts";
import { curios, purchases, relics, shoppers } from "./bazaar/protos.ts";

// The commands on an API that is not the demo's.

test("check finds nothing that would keep the gateway from starting", async () => {
  const { code, out } = await run("check");
  expect(code).toBe(0);
  expect(out).toContain("lanterns.listLanterns fetches the whole list");
});

test("plan finds the levels of a join by running its handler", async () => {
  const { code, out } = await run("plan", "acme.api.bazaar.v1.BazaarService/ListReceipts");
  expect(code).toBe(0);
  expect(out).toContain("ListReceipts   3 calls at the most, in 3 levels");
  expect(
    out
      .split("\n")
      .filter((line) => /^ {2}\d /.test(line))
      .map((line) => line.split(/ +/).slice(1, 3)),
  ).toEqual([
    ["1", "purchases.listPurchases"],
    ["2", "shoppers.batchGetShoppers"],
    ["3", "companies.batchGetCompanies"],
  ]);
});

test("drift has every secret undecided, and nothing that a view shows", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bazaar-"));
  try {
    const ledger = join(folder, "ledger.json");
    await writeFile(ledger, JSON.stringify({ hidden: {}, handled: {} }));
    const { code, out } = await run("drift", "--ledger", ledger);
    expect(code).toBe(1);
    const undecided = new Set(out.match(/^ {2}acme\S+$/gm)?.map((line) => line.trim()));
    for (const desc of [
      curios.CurioSchema,
      relics.RelicSchema,
      shoppers.ShopperSchema,
      purchases.PriceSchema,
    ]) {
      const names = desc.fields.map((field) => [`${desc.typeName}.${field.name}`, isSecret(field)]);
      expect(names.map(([name]) => [name, undecided.has(String(name))])).toEqual(names);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

async function run(...args: readonly string[]): Promise<{ code: number; out: string }> {
  let out = "";
  const print = (text: string) => {
    out += text;
  };
  const io: ProgramIo = {
    env: {},
    now: () => 0,
    out: print,
    err: print,
    app: async () => app,
    project: { appFolder: "", run: async () => ({ code: 0, output: "" }) },
  };
  const code = await runCommand(args, io);
  return { code, out };
}

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { runCommand } from "../packages/gateway/src/cli/command.ts";
import * as loaders from "./bazaar/loaders.ts";
import { bazaarService } from "./bazaar/services.ts";
import { purchaseViews } from "./bazaar/views.ts";

// `portico plan`: of the demo, as a process, and of an API that is not ours.

const root = fileURLToPath(new URL("..", import.meta.url));
const main = `${root}packages/gateway/src/main.ts`;

/** Runs the command as a person does, with nothing configured. */
async function portico(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const env = { PATH: process.env["PATH"] };
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, ...args], {
      env,
      cwd: root,
    });
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, out: stdout, err: stderr };
  }
}

describe("the plan of the demo", () => {
  test("is what is committed", async () => {
    const { code, out, err } = await portico("plan");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(
      out,
      `docs/plans.txt is not what the handlers do. Read the difference. If it is meant, write it with
npx -y pnpm@12 portico plan --out docs/plans.txt`,
    ).toBe(readFileSync(`${root}docs/plans.txt`, "utf8"));
  }, 120_000);

  test("shows that a page of joined messages takes two calls, one of them for a field", async () => {
    const { out } = await portico("plan", "ListOrdersWithUser", "--format", "json");
    expect(JSON.parse(out)).toMatchObject({
      methods: [
        {
          calls: 2,
          levels: 2,
          steps: [
            { name: "orders.listOrders", level: 1, fields: [] },
            { name: "users.batchGetUsers", level: 2, fields: ["orders.user_email"] },
          ],
        },
      ],
    });
  }, 60_000);

  test("is not made of a method that there is none of: those that there are are named", async () => {
    const { code, out, err } = await portico("plan", "ListOrdersWithUsers");
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain('"ListOrdersWithUsers" is no method of this API');
    expect(err).toContain("\n  smpl.api.orders.v1.OrdersService/ListOrdersWithUser\n");
  }, 60_000);
});

describe("the plan of an API that is not ours", () => {
  async function planOf(method: string) {
    let out = "";
    const code = await runCommand(["plan", method, "--format", "json"], {
      env: {},
      app: async () => ({
        services: [bazaarService()],
        upstreams: [],
        views: purchaseViews,
        loaders: loaders.loaders,
        requests: [],
      }),
      project: { appFolder: "", run: async () => ({ code: 1, output: "" }) },
      now: Date.now,
      out: (text) => {
        out += text;
      },
      err: (text) => {
        throw new Error(text);
      },
    });
    expect(code).toBe(0);
    const [plan] = JSON.parse(out).methods;
    return plan;
  }

  test("finds three levels of batches below a page", async () => {
    expect(await planOf("ListReceipts")).toMatchObject({
      calls: 3,
      levels: 3,
      steps: [
        { name: "purchases.listPurchases", level: 1, always: true },
        {
          name: "shoppers.batchGetShoppers",
          level: 2,
          fields: ["receipts.shopper_name", "receipts.company_name"],
        },
        { name: "companies.batchGetCompanies", level: 3, fields: ["receipts.company_name"] },
      ],
    });
  }, 120_000);

  test("finds every kind of relation: by parts of a key, in chunks, in a whole list, to many", async () => {
    const { steps, levels, problem } = await planOf("ListPurchases");
    expect({ levels, problem }).toEqual({ levels: 4, problem: null });
    expect(steps).toMatchObject([
      { name: "purchases.listPurchases" },
      { name: "shoppers.batchGetShoppers", level: 2 },
      { name: "stalls.batchGetStalls", level: 2, calls: 5, fields: ["purchases.stall_sign"] },
      { name: "shelves.batchGetShelves", level: 2, calls: 25, fields: ["purchases.shelf_label"] },
      { name: "lanterns.listLanterns", level: 2, calls: 1, fields: ["purchases.lantern_colour"] },
      { name: "notes.listNotes", level: 2, calls: 2, fields: ["purchases.notes", "purchases.star_count"] },
      { name: "shoppers.batchGetShoppers#2", level: 3, after: ["notes.listNotes"] },
      { name: "companies.batchGetCompanies", level: 3, after: ["shoppers.batchGetShoppers"] },
      {
        name: "companies.batchGetCompanies#2",
        level: 4,
        after: ["companies.batchGetCompanies"],
        fields: ["purchases.shopper.company.owner_name"],
      },
    ]);
  }, 120_000);

  test("says of a stream what each message takes", async () => {
    expect(await planOf("WatchPurchases")).toMatchObject({ calls: 1, callsPerMessage: 8, levels: 4 });
  }, 120_000);
});

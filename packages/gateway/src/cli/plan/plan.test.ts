import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { App } from "../../application.ts";
import { StartError } from "../../errors.ts";
import { service } from "../../service.ts";
import { pub } from "../../testing/protos.ts";
import { crateView, keepersById, warehouse, warehouseService } from "../../testing/warehouse.ts";
import { type ProgramIo, runCommand } from "../command.ts";
import { planMermaid } from "./mermaid.ts";
import type { MethodPlan, PlannedStep } from "./method.ts";
import { planSvg } from "./svg.ts";
import { planText } from "./text.ts";

const step: PlannedStep = {
  name: "crates.listCrates",
  level: 1,
  calls: 1,
  callsPerMessage: 0,
  atOnce: 1,
  paged: false,
  cache: null,
  otherwise: [],
  stream: false,
  after: [],
  always: true,
  fields: [],
};
const keepers: PlannedStep = {
  ...step,
  name: "crates.batchGetKeepers",
  level: 2,
  after: ["crates.listCrates"],
  always: false,
  fields: ["crates.keeper", "crates.keeper_name"],
};
const scans: PlannedStep = {
  ...keepers,
  name: "crates.listScans",
  calls: 5,
  atOnce: 2,
  paged: true,
  fields: ["crates.scans"],
};
const chiefs: PlannedStep = {
  ...keepers,
  name: "crates.batchGetKeepers#2",
  level: 3,
  after: ["crates.batchGetKeepers"],
  fields: ["crates.keeper.chief_name"],
};
const method: MethodPlan = {
  method: "acme.v1.CrateService/ListCrates",
  stream: false,
  problem: null,
  calls: 8,
  callsPerMessage: 0,
  levels: 3,
  permissions: ["crates.read"],
  cache: null,
  steps: [step, keepers, scans, chiefs],
};
const having = (parts: Partial<MethodPlan>) => ({ rows: 500, methods: [{ ...method, ...parts }] });
const plan = having({});
/** What is said about the method, without what is said about all. */
const linesOf = (parts: Partial<MethodPlan>) => planText(having(parts)).split("\n\n").slice(2).join("\n\n");

describe("as text", () => {
  test("a method is a line, with one below for each step, by level", () => {
    expect(linesOf({}).split("\n")).toEqual([
      "acme.v1.CrateService/ListCrates   8 calls at the most, in 3 levels, further pages not counted",
      "  1  crates.listCrates",
      "  2  crates.batchGetKeepers                                                for crates.keeper, crates.keeper_name",
      "  2  crates.listScans          5 calls, 2 at a time, up to 100 pages each  for crates.scans",
      "  3  crates.batchGetKeepers#2                                              after crates.batchGetKeepers; for crates.keeper.chief_name",
      "",
    ]);
  });

  test.each<[string, Partial<MethodPlan>]>([
    ["no calls", { calls: 0, levels: 0, steps: [] }],
    ["1 call at the most", { calls: 1, levels: 1, steps: [step] }],
    ["2 calls at the most, in 1 level", { calls: 2, levels: 1, steps: [step, step] }],
    [
      "1 call at the most and 2 calls for each message, in 2 levels",
      { calls: 1, callsPerMessage: 2, levels: 2, steps: [step] },
    ],
    [
      "1 call at the most; answers are kept 6s for each tenant",
      { calls: 1, levels: 1, steps: [step], cache: { ttlMs: 5_000, staleMs: 1_000, scope: "tenant" } },
    ],
    ["could not be planned: docks: are closed ⏎ now", { problem: "docks: are closed\nnow", steps: [] }],
  ])("says: %s", (words, parts) => {
    expect(linesOf(parts).split("\n")[0]).toBe(`acme.v1.CrateService/ListCrates   ${words}`);
  });

  test("says how long lists were taken to be", () => {
    expect(planText({ ...plan, rows: 50 })).toContain("with 50 items in each list that has no limit");
  });

  test("says of a step what is kept", () => {
    const kept = { ...step, cache: { ttlMs: 30_000, staleMs: 30_000, scope: "public" } } as const;
    expect(linesOf({ steps: [kept] })).toMatch(/listCrates {2}kept 1m for all callers$/m);
  });

  test("says of a step what is called in its place", () => {
    const careful = { ...keepers, otherwise: ["crates.getKeeper", "crates.listKeepers"] };
    expect(linesOf({ steps: [step, careful] })).toMatch(
      /keeper_name; else crates\.getKeeper, crates\.listKeepers$/m,
    );
    for (const render of [planMermaid, planSvg])
      expect(render(having({ steps: [careful] }))).toContain("else crates.getKeeper");
  });

  test("says of a step how often it runs for a stream", () => {
    const streamed = { ...step, calls: 0, callsPerMessage: 1 };
    expect(linesOf({ steps: [{ ...step, stream: true }, streamed] })).toMatch(
      /listCrates {2}a stream\n.*listCrates {2}1 call for each message$/m,
    );
  });
});

describe("as a Mermaid flowchart", () => {
  test("has a box for each step, in a group for each level, and an arrow for each dependency", () => {
    expect(planMermaid(having({ steps: [step, keepers] }))).toBe(`flowchart LR
  subgraph m1["acme.v1.CrateService/ListCrates"]
    m1start(["8 calls at the most, in 3 levels"])
    subgraph m1l1["level 1"]
      m1s1["crates.listCrates"]
    end
    subgraph m1l2["level 2"]
      m1s2["crates.batchGetKeepers<br/>for crates.keeper<br/>for crates.keeper_name"]
    end
    m1start --> m1s1
    m1s1 --> m1s2
  end
`);
  });

  test("has nothing but lines of the language, with text in quotes", () => {
    const evil = `"]\n  click x "javascript:alert(1)"; <script>#35;\`x\``;
    const text = planMermaid({
      rows: 1,
      methods: [
        { ...method, method: evil, problem: evil, steps: [] },
        { ...method, steps: [{ ...step, name: evil, fields: [evil] }] },
      ],
    });
    const words = /"(?:[^"<>#;`]|#\d+;|<br\/>)*"/.source;
    const line = new RegExp(
      [
        "flowchart LR",
        " *end",
        ` *subgraph \\w+\\[${words}\\]`,
        ` *\\w+\\[${words}\\]`,
        ` *\\w+\\(\\[${words}\\]\\)`,
        " *\\w+ --> \\w+",
      ].join("$|^"),
    );
    for (const each of text.trimEnd().split("\n")) expect(each).toMatch(new RegExp(`^${line.source}$`));
    expect(text.match(/\bsubgraph\b/g)).toHaveLength(text.match(/^ *end$/gm)?.length ?? 0);
  });
});

describe("as a picture", () => {
  test("has a box for each step, a column for each level, and a line for each dependency", () => {
    const svg = planSvg(plan);
    const columns = [...svg.matchAll(/<rect class="box" x="(\d+)"/g)].map(([, x]) => Number(x));
    expect(columns).toHaveLength(4);
    expect(columns[0]).toBeLessThan(columns[1] ?? 0);
    expect(columns[1]).toBe(columns[2]);
    expect(columns[2]).toBeLessThan(columns[3] ?? 0);
    expect(svg.match(/<path class="after"/g)).toHaveLength(3);
    expect(svg).toContain(">for crates.keeper.chief_name</text>");
  });

  test("is as large as what it shows", () => {
    const svg = planSvg({ rows: 500, methods: [method, { ...method, steps: [] }] });
    const [, width = 0, height = 0] = (/width="(\d+)" height="(\d+)"/.exec(svg) ?? []).map(Number);
    const boxes = [...svg.matchAll(/<rect class="box" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"/g)];
    for (const [x = 0, y = 0, w = 0, h = 0] of boxes.map((box) => box.slice(1).map(Number))) {
      expect(x + w).toBeLessThan(width);
      expect(y + h).toBeLessThan(height);
    }
  });

  test("escapes whatever comes from protos and handlers", () => {
    const evil = `"><script>alert('1')</script>&amp;`;
    const svg = planSvg({
      rows: 1,
      methods: [
        {
          ...method,
          method: evil,
          problem: evil,
          steps: [{ ...step, name: evil, after: [evil], fields: [evil] }],
        },
      ],
    });
    expect(svg).not.toMatch(/<script|alert\('|&amp;/);
    expect(svg).toContain("&#60;script&#62;");
    const open = svg.match(/<(svg|title|style|g|text)[ >]/g)?.length;
    expect(svg.match(/<\/(svg|title|style|g|text)>/g)).toHaveLength(open ?? 0);
  });
});

describe("portico plan", () => {
  const listing = service(pub.WarehouseService, {
    ...warehouseService.handlers,
    async listCrates(_: pub.ListCratesRequest, call) {
      const { crates } = await warehouse.listCrates({ pageSize: 2 }, call);
      return { crates: await crateView.all(crates, call) };
    },
  } as Parameters<typeof service<typeof pub.WarehouseService>>[1]);
  const app: App = {
    services: [listing],
    upstreams: [warehouse],
    views: [crateView],
    loaders: [keepersById],
    requests: [],
  };

  async function run(args: string, parts: Partial<ProgramIo> = {}) {
    let [out, err] = ["", ""];
    const code = await runCommand(args.split(" "), {
      env: {},
      app: async () => app,
      project: {
        appFolder: "",
        run: async () => {
          throw new Error("plan runs no programs");
        },
      },
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

  test.each([
    "ListCrates",
    "WarehouseService/ListCrates",
    "acme.api.warehouse.v1.WarehouseService/ListCrates",
    "WarehouseService.ListCrates",
    "acme.api.warehouse.v1.WarehouseService.ListCrates",
  ])("shows %s alone", async (name) => {
    const { code, out, err } = await run(`plan ${name}`);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out.match(/^acme\S+/gm)).toEqual(["acme.api.warehouse.v1.WarehouseService/ListCrates"]);
    expect(out).toMatch(/^ {2}2 {2}warehouse\.batchGetKeepers .* for crates\.keeper_name, crates\.keeper$/m);
  });

  test("shows all methods, in the sequence of the protos", async () => {
    const { out } = await run("plan --rows 3");
    expect(out.match(/^acme\S+/gm)?.map((name) => name.split("/")[1])).toEqual([
      "GetStatus",
      "GetCrate",
      "ListCrates",
      "StoreCrates",
      "WatchCrates",
    ]);
    expect(out).toContain("with 3 items in each list");
  });

  test("prints JSON, Mermaid and SVG when asked", async () => {
    expect(JSON.parse((await run("plan ListCrates --format json")).out)).toMatchObject({
      rows: 500,
      methods: [{ method: "acme.api.warehouse.v1.WarehouseService/ListCrates", levels: 3, problem: null }],
    });
    expect((await run("plan ListCrates --format mermaid")).out).toMatch(/^flowchart LR\n/);
    expect((await run("plan ListCrates --format svg")).out).toMatch(/^<svg [^>]*>\n.*<\/svg>\n$/s);
  });

  test("writes into a file and prints nothing", async () => {
    const folder = mkdtempSync(join(tmpdir(), "portico-plan-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const { out } = await run("plan ListCrates");
    expect(await run(`plan ListCrates --out ${folder}/plan.txt`)).toEqual({ code: 0, out: "", err: "" });
    expect(readFileSync(`${folder}/plan.txt`, "utf8")).toBe(out);
  });

  test("is the same every time", async () => {
    expect(await run("plan ListCrates --format json")).toEqual(await run("plan ListCrates --format json"));
  });

  test.each([
    ["plan ListBoxes", /^"ListBoxes" is no method of this API, which has:\n {2}acme\S+GetStatus\n/],
    ["plan Crates", /^"Crates" is no method/],
    ["plan Service/ListCrates", /^"Service\/ListCrates" is no method/],
    ["plan ListCrates GetCrate", /^give one method, or none for all: got ListCrates GetCrate\n/],
    ["plan --format pdf", /^--format is "pdf": give text, json, mermaid, svg\n/],
    ["plan --rows 0", /^--rows is "0": give a whole number from 1 to 10000\n/],
    ["plan --rows 10001", /^--rows is "10001"/],
    ["plan --rows many", /^--rows is "many"/],
  ])("does not understand: %s", async (args, says) => {
    const { code, out, err } = await run(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(says);
    expect(err).toContain('"portico plan --help" tells more.');
  });

  test("says what is wrong with an app that cannot be made", async () => {
    const broken = async () => {
      throw new StartError(["a view has a gap"]);
    };
    expect(await run("plan", { app: broken })).toEqual({
      code: 1,
      out: "",
      err: "Portico cannot start:\n  - a view has a gap\n",
    });
  });
});

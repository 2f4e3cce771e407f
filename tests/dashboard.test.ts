import { readFileSync } from "node:fs";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { parseMetrics, type ScrapedMetric } from "../packages/gateway/src/testing/prometheus.ts";
import { ask } from "./ask.ts";
import { type System, startSystem } from "./system.ts";

// The dashboard, the alert rules and the documentation are about the metrics that there really are.

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const documentation = read("docs/observability.md");

/** A query, and where it stands. */
interface Expression {
  readonly where: string;
  readonly text: string;
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly targets?: readonly { readonly expr: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
}

const dashboard: Dashboard = JSON.parse(read("deploy/grafana/portico.json"));
const alerts = [...read("deploy/prometheus/alerts.yml").matchAll(/- alert: (\w+)\n\s+expr: (.+)\n/g)];

const expressions: readonly Expression[] = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ where: `the panel ${title}`, text: expr })),
  ),
  ...dashboard.templating.list.flatMap(({ name, definition }) =>
    definition === undefined ? [] : [{ where: `the variable ${name}`, text: definition }],
  ),
  ...alerts.map(([, name, expr = ""]) => ({ where: `the alert ${name}`, text: expr })),
];

/** A metric that an expression names, with the labels that it selects by. */
interface Use extends Expression {
  readonly name: string;
  readonly labels: readonly string[];
}

const uses: readonly Use[] = expressions.flatMap((expression) =>
  [...expression.text.matchAll(/\b(portico_\w+)(?:\{([^}]*)\})?/g)].map(([, name = "", selector = ""]) => ({
    ...expression,
    name,
    labels: [...selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label),
  })),
);

/** The labels that an expression groups by. */
function grouping(text: string): readonly string[] {
  return [...text.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels = ""]) =>
    labels.split(",").map((label) => label.trim()),
  );
}

/** Labels that Prometheus adds by itself. */
const added = ["instance", "job"];

describe("of a gateway with some traffic", () => {
  let system: System;
  let metrics: ReadonlyMap<string, ScrapedMetric>;
  beforeAll(async () => {
    system = await startSystem({
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
        ANSWER_CACHE_BYTES: String(16 * 2 ** 20),
        ENTITY_CACHE_BYTES: String(16 * 2 ** 20),
      },
    });
    const headers = { authorization: `Bearer ${await system.token("admin")}` };
    const list = OrdersService.method.listOrdersWithUser;
    await ask(system.url, list, { pageSize: 3 }, { headers });
    await ask(system.url, UsersService.method.getUser, { id: "user-1" });
    // One that lacks something.
    system.mocks.users.fault({ code: Code.Internal });
    const partial = await ask(system.url, list, { pageSize: 4 }, { headers });
    system.mocks.users.clearFaults();
    await system.logOf(partial.requestId);
    await vi.waitFor(async () => {
      metrics = parseMetrics(await (await fetch(`${system.adminUrl}/metrics`)).text());
      expect(metrics.get("portico_partial_answers_total")?.samples).toHaveLength(1);
    });
  });
  afterAll(() => system.close());

  /** The name of each sample that a query can ask for, with the labels of all of its values. */
  function queryable(): ReadonlyMap<string, ReadonlySet<string>> {
    const labels = new Map<string, Set<string>>();
    for (const { samples } of metrics.values())
      for (const sample of samples) {
        const known = labels.get(sample.name) ?? new Set();
        labels.set(sample.name, known);
        for (const label of Object.keys(sample.labels)) known.add(label);
      }
    return labels;
  }

  test("every metric has a value, so that whatever is asked of it can be checked", () => {
    const empty = [...metrics].filter(([, { samples }]) => samples.length === 0).map(([name]) => name);
    expect(empty).toEqual([]);
  });

  test("every expression names metrics and labels that there are", () => {
    const known = queryable();
    const problems = uses.flatMap(({ where, name, labels }) => {
      const there = known.get(name);
      if (there === undefined) return [`${where}: there is no ${name}`];
      return labels
        .filter((label) => !there.has(label) && !added.includes(label))
        .map((label) => `${where}: ${name} has no label ${label}`);
    });
    expect(problems).toEqual([]);
  });

  test("every expression groups by labels that its metrics have", () => {
    const known = queryable();
    const problems = expressions.flatMap(({ where, text }) => {
      const there = uses
        .filter((use) => use.text === text)
        .flatMap(({ name }) => [...(known.get(name) ?? [])]);
      return grouping(text)
        .filter((label) => !there.includes(label) && !added.includes(label))
        .map((label) => `${where} groups by ${label}`);
    });
    expect(problems).toEqual([]);
  });

  test("every metric is documented, with its labels, and nothing else is", () => {
    const rows = documentation.split("\n").flatMap((row) => {
      const [, names = "", labels = ""] = /^\| (`portico_[^|]*) \| ([^|]*)\|/.exec(row) ?? [];
      const list = labels.split(",").map((label) => label.trim());
      return [...names.matchAll(/`(portico_\w+)`/g)].map(
        ([, name = ""]) => [name, list.filter(Boolean).sort()] as const,
      );
    });
    const documented = new Map(rows);
    const real = Array.from(metrics, ([name, { samples }]) => {
      const labels = new Set(samples.flatMap((sample) => Object.keys(sample.labels)));
      labels.delete("le");
      return [name, [...labels].sort()] as const;
    });
    expect(new Map([...documented].sort())).toEqual(new Map(real.sort()));
  });

  test("every metric is on the dashboard", () => {
    const shown = new Set(uses.map(({ name }) => name.replace(/_(bucket|sum|count)$/, "")));
    expect([...metrics.keys()].filter((name) => !shown.has(name))).toEqual([]);
  });
});

test("there are expressions to be checked: of panels, variables and alerts", () => {
  expect(alerts.length).toBeGreaterThan(10);
  expect(alerts.length).toBe(read("deploy/prometheus/alerts.yml").match(/expr:/g)?.length);
  expect(uses.length).toBeGreaterThan(80);
});

test("every expression has its brackets closed", () => {
  const pairs = { ")": "(", "}": "{", "]": "[" };
  const isClosed = (text: string): boolean => {
    const open: string[] = [];
    for (const char of text.replaceAll(/"[^"]*"/g, "")) {
      if ("({[".includes(char)) open.push(char);
      else if (char in pairs && open.pop() !== pairs[char as keyof typeof pairs]) return false;
    }
    return open.length === 0;
  };
  expect(expressions.filter(({ text }) => !isClosed(text))).toEqual([]);
});

test("the dashboard's panels have ids of their own, and none lies over another", () => {
  const { panels } = dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(panels.every(({ gridPos: { x, w } }) => x + w <= 24)).toBe(true);
  expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(39);
});

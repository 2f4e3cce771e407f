import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { services } from "../../packages/gateway/src/app/app.ts";
import { parseAccess } from "../../packages/gateway/src/policy/access.ts";
import { createMatrix } from "../../packages/gateway/src/policy/matrix.ts";
import { createMethodTable } from "../../packages/gateway/src/policy/method-table.ts";
import { unhurried } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { startUpstreams, type UpstreamProcess } from "../harness/upstream-process.ts";
import { environmentOf, startIssuer } from "../issuer.ts";
import { forgeriesOf } from "../policy-matrix/forgeries.ts";
import { planCalls } from "../policy-matrix/plan.ts";
import { deviations, fieldDeviations, runCalls } from "../policy-matrix/run.ts";

const methods = services.flatMap(({ desc }) => desc.methods);
const accessFile = fileURLToPath(new URL("../../packages/gateway/src/app/access.json", import.meta.url));

test("D5 every method in every way by everyone with every credential", async () => {
  const matrix = createMatrix(
    createMethodTable(services),
    parseAccess(readFileSync(accessFile, "utf8"), "access.json"),
  );
  await using issuer = await startIssuer();
  await using hostile = await startIssuer();
  await using upstreams = await startUpstreams();
  await using gateway = await startGateway(upstreams.urls, {
    ...unhurried,
    ...environmentOf(issuer),
    DEFAULT_TIMEOUT_MS: "10000",
  });
  const forgeries = forgeriesOf(issuer, hostile);
  const calls = planCalls(matrix, methods, issuer, forgeries);
  const isLetIn = ({ expected }: (typeof calls)[number]) => expected === "let in";
  const refused = await runCalls(
    gateway.url,
    calls.filter((call) => !isLetIn(call)),
  );
  const reached = await callsOf(upstreams);
  const letIn = await runCalls(gateway.url, calls.filter(isLetIn));
  const wrong = [...deviations(matrix, [...refused, ...letIn]), ...fieldDeviations(matrix, letIn)];
  figure({
    id: "D5",
    test: `${calls.length} calls: ${methods.length} methods x ${matrix.subjects.length} callers x ${forgeries.length} forgeries x protocols`,
    expected: "100 % as the policy says; no upstream call on a refusal",
    measured: `${wrong.length} otherwise; ${refused.length} refused, ${reached} upstream calls for them; ${letIn.length} let in`,
    reached: wrong.length === 0 && reached === 0,
  });
  expect(wrong).toEqual([]);
  expect(reached).toBe(0);
  // Those that are let in do reach a service, so that there is something to count.
  expect(await callsOf(upstreams)).toBeGreaterThanOrEqual(letIn.length);
  expect(refused.length).toBeGreaterThan(1_000);
  expect(hostile.asked()).toEqual([]);
  expect(gateway.crashes()).toEqual([]);
});

async function callsOf({ calls }: UpstreamProcess): Promise<number> {
  const counts = await Promise.all((["users", "orders", "inventory"] as const).map((it) => calls(it)));
  return counts.reduce((sum, { count }) => sum + count, 0);
}

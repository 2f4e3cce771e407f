import { beforeAll, expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { findRunner, isRunnerMissing, runClientMode, runServerMode, type Summary } from "./runner.ts";

// The official suite of Connect, gRPC and gRPC-Web, which knows the protocols better than we do. No case is marked as
// known to fail. docs/conformance.md says which features are on.

/** A machine that has other things to do must not make a case of us. */
const generousMs = 900_000;

if (isRunnerMissing()) test.skip("needs Go on the PATH, or the runner that CONFORMANCE_RUNNER names");
else {
  let runner: string;
  beforeAll(async () => {
    runner = await findRunner();
  }, generousMs);

  test(
    "the public port passes every case for a server of Connect, gRPC and gRPC-Web",
    async () => {
      const summary = await runServerMode(runner);
      record("A1", "official conformance suite v1.0.5, server mode, own edge", summary);
      expect(summary).toEqual({ total: 3_620, passed: 3_620, problems: [] });
    },
    generousMs,
  );

  test(
    "calls to internal services pass every case for a client of gRPC",
    async () => {
      const summary = await runClientMode(runner);
      record("A2", "official conformance suite v1.0.5, client mode, own upstream session", summary);
      expect(summary).toEqual({ total: 336, passed: 336, problems: [] });
    },
    generousMs,
  );
}

function record(id: string, test: string, { total, passed }: Summary): void {
  const measured = `${passed} of ${total} passed, none known to fail`;
  figure({ id, test, expected: "every case passes", measured, reached: passed === total });
}

import { defineConfig } from "vitest/config";

const ci = Boolean(process.env["CI"]);

/** What `pnpm reliability` runs, one file after the other: each needs the machine to itself. */
export default defineConfig({
  test: {
    include: ["tests/{conformance,faults,load,attack}/**/*.test.ts"],
    fileParallelism: false,
    // .ci/run counts from this file.
    reporters: ci ? ["default", ["json", { outputFile: "coverage/reliability.json" }]] : ["default"],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    retry: ci ? 1 : 0,
  },
});

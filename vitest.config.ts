import { configDefaults, defineConfig } from "vitest/config";

const ci = Boolean(process.env["CI"]);

export default defineConfig({
  test: {
    include: ["packages/*/src/**/*.test.ts", "tests/**/*.test.ts"],
    // `pnpm reliability` runs these, one after the other.
    exclude: [...configDefaults.exclude, "tests/{faults,load,attack}/**"],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // Thousands of tests over sockets share two cores there. What passes at the second attempt is named in the output.
    retry: ci ? 1 : 0,
    // .ci/run counts from this file.
    reporters: ci ? ["default", ["json", { outputFile: "coverage/vitest.json" }]] : ["default"],
    coverage: {
      enabled: ci,
      provider: "v8",
      // The framework alone: app/ is the demo's domain, gen/ is generated, main.ts runs in a child process.
      include: ["packages/gateway/src/**/*.ts"],
      exclude: ["**/*.test.ts", "packages/gateway/src/{app,gen,testing}/**", "packages/gateway/src/main.ts"],
      reporter: ["text", "json-summary"],
      thresholds: { lines: 90 },
    },
  },
});

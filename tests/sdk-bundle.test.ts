import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { expect, test } from "vitest";

// What a page loads of the SDK.

const root = fileURLToPath(new URL("..", import.meta.url));

test("the index adds nothing to a page that only imports the client", async () => {
  const whole = await bundle(`export { Portico } from "@portico/client-sdk"`);
  const client = await bundle(`export { Portico } from "${root}packages/client-sdk/src/portico.ts"`);
  expect(client.length).toBeGreaterThan(10_000);
  expect(whole.length).toBe(client.length);
});

/** The code that a browser loads, without white space and long names. */
async function bundle(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)) },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}

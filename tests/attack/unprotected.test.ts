import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { startChild } from "../harness/child.ts";
import { figure } from "../harness/figures.ts";

const accessFile = fileURLToPath(new URL("../../packages/gateway/src/app/access.json", import.meta.url));
const nowhere = "http://127.0.0.1:1";
const env = {
  PORTICO_MODE: "demo",
  ACCESS_FILE: accessFile,
  UPSTREAM_USERS: nowhere,
  UPSTREAM_ORDERS: nowhere,
  UPSTREAM_INVENTORY: nowhere,
};

/** What the gateway says to each. */
const refusals: Readonly<Record<string, RegExp>> = {
  "a method without policy": /EraseUser has no policy\. Write into the rpc/,
  "a gate of its own": /service\(UsersService, \.\.\.\) takes no options/,
  "interceptors of its own": /service\(UsersService, \.\.\.\) takes no options/,
  "options that say nothing": /service\(UsersService, \.\.\.\) takes no options/,
  "a policy of its own": /has a policy next to its rpc, and another one in its service/,
};

test("D6 a gateway that would let callers past its policy does not start", async () => {
  expect(await start("as it is")).toBe("it listens");
  const said: Record<string, string> = {};
  for (const variant of Object.keys(refusals)) said[variant] = await start(variant);
  const started = Object.keys(said).filter((variant) => said[variant] === "it listens");
  figure({
    id: "D6",
    test: `a gateway with ${Object.keys(refusals).join("; ")}`,
    expected: "the gateway does not start",
    measured: `${Object.keys(said).length - started.length} of ${Object.keys(said).length} do not start`,
    reached: started.length === 0,
  });
  for (const [variant, words] of Object.entries(refusals)) expect(said[variant], variant).toMatch(words);
});

/** @returns what it writes when it does not start */
async function start(variant: string): Promise<string> {
  const child = startChild(new URL("start-main.ts", import.meta.url), { env, args: [variant] });
  const listens = child
    .told(
      (message): message is { url: string } =>
        typeof message === "object" && message !== null && "url" in message,
    )
    .then(
      () => "it listens",
      () => "it ended",
    );
  const how = await Promise.race([listens, child.ended]);
  const { stderr } = await child.kill();
  return how === "it listens" ? how : stderr;
}

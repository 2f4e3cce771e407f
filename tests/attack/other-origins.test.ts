import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { services } from "../../packages/gateway/src/app/app.ts";
import { overH1, overH2 } from "../exchange.ts";
import { unhurried } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { startUpstreams, type UpstreamProcess } from "../harness/upstream-process.ts";
import { requestsOf } from "../policy-matrix/requests.ts";

const listed = ["https://app.example.com", "http://localhost:3000"] as const;
const evil = "https://evil.example";
const methods = services.flatMap(({ desc }) => desc.methods);
const changing = methods.filter(
  ({ idempotency }) => idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
);

/** Origins that look like a listed one, and are another. */
function originsLike(origin: string): readonly string[] {
  const { protocol, host, hostname, port } = new URL(origin);
  const at = (where: string) => `${protocol}//${where}`;
  return [
    ...[`${origin}.evil.example`, `${origin}@evil.example`, `${origin}:8443`, `${origin}0`, `${origin}.`],
    ...[`${origin}/`, `${origin}#`, `${origin}?`, `${origin}\\`, `${origin}%00.evil.example`, `${origin},`],
    ...[
      `${origin}, ${origin}`,
      `${origin} ${origin}`,
      `${origin};${evil}`,
      `${evil}, ${origin}`,
      `"${origin}"`,
    ],
    ...[at(`evil-${host}`), at(`evil.${host}`), at(`a@${host}`), at(host.toUpperCase()), at(`.${host}`)],
    ...[at(host.replace(".", "-")), at(host.replace("o", "0")), at(host.slice(1)), at(host.slice(0, -1))],
    ...[
      at(`${hostname}${port === "" ? ":80" : ""}`),
      at(`${hostname}:${port || "443"}1`),
      at(host.replace("a", "%61")),
    ],
    ...[
      `${protocol === "https:" ? "http:" : "https:"}//${host}`,
      protocol.toUpperCase() + origin.slice(protocol.length),
    ],
    ...[`file://${host}`, `ftp://${host}`, `chrome-extension://${host}`, `//${host}`, host, hostname],
  ].filter((other) => !listed.some((it) => it === other));
}

const others = [
  ...new Set([
    ...listed.flatMap(originsLike),
    "null",
    "NULL",
    "*",
    "",
    "undefined",
    "https://",
    "file://",
    "data:",
    evil,
  ]),
];

/** What a page may send without a preflight (Fetch, "CORS-safelisted"), and what looks like it. */
const simpleTypes = [
  "text/plain",
  "TEXT/PLAIN",
  "text/plain; application/json",
  "text/plain;charset=application/json",
  "text/plain, application/json",
  "application/x-www-form-urlencoded",
  "application/x-www-form-urlencoded; application/connect+json",
  "multipart/form-data; boundary=application/json",
  "",
];

/** Headers that a server might take for another method or type. A page may not send them; a proxy might. */
const overrides: Readonly<Record<string, string>> = {
  "x-http-method-override": "POST",
  "x-method-override": "POST",
  "x-content-type": "application/json",
  accept: "application/json",
};

test("D12 other origins read nothing, and no page changes anything without having asked", async () => {
  await using upstreams = await startUpstreams({ users: 200, orders: 20, items: 20 });
  await using gateway = await startGateway(upstreams.urls, {
    ...unhurried,
    DEFAULT_TIMEOUT_MS: "10000",
    CORS_ORIGINS: listed.join(","),
  });
  const { url } = gateway;
  const authorization = `Bearer ${await gateway.token("admin", "user-1")}`;
  const problems: string[] = [];
  let asked = 0;
  /** @returns the origin that an answer allows, of the preflight and of the call itself */
  const allowed = async (origin: string, path: string, exchange: typeof overH1) => {
    const preflight = {
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type",
    };
    const call = { authorization, "content-type": "application/json" };
    asked += 2;
    const answers = await Promise.all([
      exchange(url, { method: "OPTIONS", path, headers: { origin, ...preflight } }),
      exchange(url, { path, headers: { origin, ...call }, body: "{" }),
    ]);
    for (const { headers } of answers)
      if (headers["access-control-allow-credentials"] !== undefined)
        problems.push(`${origin} may use credentials`);
    return answers.map(({ headers }) => headers["access-control-allow-origin"]);
  };
  for (const { parent, name } of methods)
    for (const exchange of [overH1, overH2]) {
      const path = `/${parent.typeName}/${name}`;
      for (const origin of listed)
        if ((await allowed(origin, path, exchange)).some((it) => it !== origin))
          problems.push(`${origin} may not call ${name}`);
    }
  const path = `/${methods[0]?.parent.typeName}/${methods[0]?.name}`;
  for (const origin of others)
    for (const exchange of [overH1, overH2])
      if ((await allowed(origin, path, exchange)).some((it) => it !== undefined))
        problems.push(`"${origin}" is allowed`);
  const forged = await sendSimple(url, authorization);
  problems.push(...forged.problems);
  const changed = await changesIn(upstreams);
  figure({
    id: "D12",
    test: `${others.length} other origins, ${asked} requests; ${forged.sent} simple requests to ${changing.length} methods that change something`,
    expected: "exact origins only; no mutation without preflight",
    measured: `${problems.length} otherwise; ${changed} changes`,
    reached: problems.length === 0 && changed === 0,
  });
  expect(problems).toEqual([]);
  expect(changed).toBe(0);
  // The same, sent as it should be, does change something. By somebody who has not sent too much already.
  const another = `Bearer ${await gateway.token("admin", "user-2")}`;
  expect(await sendProperly(url, another)).toEqual(changing.map(() => 200));
  expect(await changesIn(upstreams)).toBe(changing.length);
});

/** Sends all that a page may send without having asked, as if its browser added credentials by itself. */
async function sendSimple(url: string, authorization: string) {
  const problems: string[] = [];
  let sent = 0;
  for (const { path, json } of changing.map(requestOf)) {
    const query = `${path}?connect=v1&encoding=json&message=${encodeURIComponent(json)}`;
    const tries = [
      ...simpleTypes.flatMap((type) =>
        [{}, overrides].map((more) => ({
          path,
          headers: { ...more, ...(type && { "content-type": type }) },
          body: json,
        })),
      ),
      ...["GET", "HEAD"].flatMap((method) =>
        [{}, overrides].map((more) => ({ method, path: query, headers: more })),
      ),
      { path: query, headers: {}, body: "" },
    ];
    for (const exchange of [overH1, overH2])
      for (const { headers, ...request } of tries) {
        sent++;
        const all = { ...headers, authorization, origin: evil };
        const { status } = await exchange(url, { ...request, headers: all });
        if (![400, 404, 405, 415].includes(status))
          problems.push(`${JSON.stringify(headers)} ${path}: ${status}`);
      }
  }
  return { problems, sent };
}

async function sendProperly(url: string, authorization: string): Promise<number[]> {
  const headers = { authorization, "content-type": "application/json" };
  const answers = await Promise.all(
    changing.map(requestOf).map(({ path, json }) => overH1(url, { path, headers, body: json })),
  );
  return answers.map(({ status }) => status);
}

function requestOf({ parent, name }: (typeof methods)[number]) {
  const request = requestsOf[`${parent.typeName}/${name}`]?.met("user-1") ?? {};
  return { path: `/${parent.typeName}/${name}`, json: JSON.stringify(request) };
}

async function changesIn({ calls }: UpstreamProcess): Promise<number> {
  const [users, orders] = await Promise.all([calls("users", "createUser"), calls("orders", "createOrder")]);
  return users.count + orders.count;
}

import { startMocks } from "@portico/internal-mocks";
import { expect, test } from "vitest";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { type Exchange, overH1, overH2, overTcp } from "../exchange.ts";
import { unhurried } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { data, type Fields, flags, headers, openFrames, request } from "../harness/frames.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { smugglesOf } from "./smuggles.ts";

const createPath = `/${UsersService.typeName}/CreateUser`;
const getPath = `/${UsersService.typeName}/GetUser`;
const user = '{"email":"smuggled@example.com"}';

test("D10 there is one way to read a request, and one policy for it", async () => {
  const mocks = await startMocks({ users: 20, orders: 0, items: 0 });
  await using upstreams = { ...mocks, [Symbol.asyncDispose]: mocks.close };
  const urls = { users: mocks.users.url, orders: mocks.orders.url, inventory: mocks.inventory.url };
  await using gateway = await startGateway(urls, { ...unhurried, DEFAULT_TIMEOUT_MS: "10000" });
  const { url } = gateway;
  const [admin, viewer] = [await gateway.token("admin"), await gateway.token("viewer")];
  /** The ids of the requests that created a user. */
  const created = () => upstreams.users.calls.all("createUser").map(({ headers }) => headers["x-request-id"]);
  const problems: string[] = [];
  const hidden =
    `POST ${createPath} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${admin}\r\nx-request-id: ${idOf(0)}\r\n` +
    `content-type: application/json\r\ncontent-length: ${user.length}\r\n\r\n${user}`;

  const smuggles = smugglesOf({ path: getPath, authorization: `authorization: Bearer ${admin}`, hidden });
  await each(smuggles.entries(), async ([index, [, bytes]]) => {
    const named = Buffer.from(bytes.toString("latin1").replace(idOf(0), idOf(index)), "latin1");
    await overTcp(url, named, 700).catch(() => "");
  });
  smuggles.forEach(([name], index) => {
    if (created().includes(idOf(index))) problems.push(`${name}: what was hidden was a request`);
  });

  const json = ["content-type", "application/json"] as const;
  // Over HTTP/2, where lengths are the protocol's own.
  const lines = framesWith(hidden);
  await each(lines, async ([, fields]) => {
    await using client = await openFrames(url);
    const all = [...request(getPath, [json, ["authorization", `Bearer ${admin}`]]), ...fields];
    await client.send(headers(1, all), data(1, Buffer.from(hidden), flags.endStream));
    await Promise.race([client.ended, client.next(({ streamId }) => streamId === 1)]);
  });

  await each(
    [
      [viewer, admin],
      [admin, viewer],
    ],
    async (tokens) => {
      await using client = await openFrames(url);
      const credentials = tokens.map((token) => ["authorization", `Bearer ${token}`] as const);
      await client.send(
        headers(1, request(createPath, [json, ...credentials])),
        data(1, Buffer.from(user), flags.endStream),
      );
      await Promise.race([client.ended, client.next(({ streamId }) => streamId === 1)]);
    },
  );

  // Whoever may not call a method may not call it by another spelling of its path either.
  const paths = pathsLike(createPath);
  const other: string[] = [];
  await each(paths, async (path) => {
    for (const exchange of [overH1, overH2])
      for (const token of [undefined, viewer]) {
        const headers = {
          "content-type": "application/json",
          ...(token && { authorization: `Bearer ${token}` }),
        };
        const { status } = await exchange(url, { path, headers, body: user }).catch(noAnswer);
        if (status !== 0 && (status < 400 || status >= 500) && status !== 501)
          other.push(`${path}: ${status}`);
      }
  });
  const doubled = doublesOf(admin, viewer);
  await each(doubled, async ([name, text, statuses]) => {
    const got = await overTcp(url, Buffer.from(post(text), "latin1"), 1_500).catch(() => "");
    const status = Number(/^HTTP\/1\.1 (\d+)/.exec(got)?.[1] ?? 0);
    if (!statuses.includes(status)) problems.push(`${name}: ${status}`);
  });
  problems.push(...other);
  const refused = created().length;

  figure({
    id: "D10",
    test: `${smuggles.length + lines.length} smuggles, ${paths.length} spellings of a path x 2 callers x HTTP/1.1 and HTTP/2, ${doubled.length} doubled, odd or > 100 headers`,
    expected: "400, or the same policy",
    measured: `${problems.length} led elsewhere; ${refused} of them reached a service`,
    reached: problems.length === 0 && refused === 0,
  });
  expect(problems).toEqual([]);
  expect(refused).toBe(0);
  // What was hidden is a request in the open, so that there was something to find.
  expect(await overTcp(url, hidden, 3_000)).toMatch(/^HTTP\/1\.1 200/);
  expect(created()).toHaveLength(1);
  expect(gateway.crashes()).toEqual([]);
});

function idOf(index: number): string {
  return `smuggle-${String(index).padStart(3, "0")}`;
}

function post(lines: string): string {
  return `POST ${createPath} HTTP/1.1\r\n${lines}content-length: ${user.length}\r\nconnection: close\r\n\r\n${user}`;
}

function framesWith(hidden: string): readonly (readonly [name: string, fields: Fields])[] {
  return [
    ["a length that is shorter", [["content-length", "4"]]],
    ["a length that is longer", [["content-length", "4000"]]],
    [
      "two lengths",
      [
        ["content-length", "4"],
        ["content-length", String(hidden.length)],
      ],
    ],
    ["chunks", [["transfer-encoding", "chunked"]]],
    ["a line break in a value", [["x", `y\r\n\r\n${hidden}`]]],
    ["a line break in a name", [[`x: y\r\n\r\n${hidden}`, "z"]]],
    ["another path", [[":path", createPath]]],
    ["another method", [[":method", `POST ${createPath} HTTP/1.1`]]],
    ["a connection", [["connection", "keep-alive, x"]]],
    ["another host", [["host", `localhost\r\n${hidden}`]]],
  ];
}

/** A path in every way that some server takes for the same one. */
function pathsLike(path: string): readonly string[] {
  const encode = (letter: string) => `%${letter.charCodeAt(0).toString(16).padStart(2, "0")}`;
  const one = Array.from(
    path,
    (letter, index) => path.slice(0, index) + encode(letter) + path.slice(index + 1),
  );
  const all = Array.from(path.slice(1), encode).join("");
  return [
    ...new Set([
      ...one,
      ...one.map((text) => text.replaceAll(/%[\da-f]{2}/g, (encoded) => encoded.toUpperCase())),
      ...one.slice(0, 10).map((text) => text.replaceAll("%", "%25")),
      `/${all}`,
      path.toLowerCase(),
      path.toUpperCase(),
      ...["", "/", "//", "/.", "/./", "/x/..", "/%2e%2e/"].map((prefix) => `${prefix}${path}`).slice(1),
      ...[
        "/",
        "//",
        "/.",
        "/..",
        ";a=b",
        "%20",
        "%00",
        ".json",
        "%23",
        "%3f",
        "?",
        "?a=b#c",
        "%2f",
        "\\",
        ".",
      ].map((suffix) => `${path}${suffix}`),
      path.replaceAll("/", "\\"),
      path.replaceAll(".", "/"),
      path.replace("CreateUser", "GetUser/../CreateUser"),
      path.replace("CreateUser", "GetUser%2f..%2fCreateUser"),
      path.replace("CreateUser", "GetUser;/../CreateUser"),
      path.replace("smpl.api.", "smpl."),
      path.replace("C", "%C0%83"),
      path.replace("C", "%uff23"),
    ]),
  ];
}

/** Requests with headers twice or too often: which of them counts must not be for the caller to choose. */
function doublesOf(
  admin: string,
  viewer: string,
): readonly (readonly [name: string, lines: string, statuses: readonly number[]])[] {
  const base = "host: localhost\r\ncontent-type: application/json\r\n";
  const by = (token: string) => `authorization: Bearer ${token}\r\n`;
  const bad = [400, 401, 403, 431];
  return [
    ["a viewer, then an admin", base + by(viewer) + by(admin), bad],
    ["an admin, then a viewer", base + by(admin) + by(viewer), bad],
    ["both in one line", `${base}authorization: Bearer ${viewer}, Bearer ${admin}\r\n`, bad],
    ["a viewer with a key besides", `${base}${by(viewer)}x-api-key: ${admin}\r\n`, bad],
    ["a folded token", `${base}authorization: Bearer\r\n ${admin}\r\n`, bad],
    ["two hosts", `host: other\r\n${base}${by(admin)}`, bad],
    ["two equal hosts", `host: localhost\r\n${base}${by(admin)}`, bad],
    ["two types", `content-type: text/plain\r\n${base}${by(viewer)}`, [...bad, 415]],
    ...["[", "a b", "a:99999", "", "user@a", "a/b", "a,b", "[::1", "%00", "a?b", "a#b", "ä", "a\\b"].map(
      (host) => [`host ${host}`, `${base.replace("localhost", host)}${by(admin)}`, bad] as const,
    ),
    ...[101, 200, 1_000, 2_500].flatMap((count) => {
      const lines = "x: y\r\n".repeat(count);
      return [
        [`${count} lines, then credentials`, `${base}${lines}${by(admin)}`, [431]],
        [`credentials, then ${count} lines`, `${base}${by(admin)}${lines}`, [431]],
        [`${count} lines between two credentials`, `${base}${by(viewer)}${lines}${by(admin)}`, [...bad]],
      ] as const;
    }),
  ];
}

/** Node's own client does not send everything. */
function noAnswer(): Pick<Exchange, "status"> {
  return { status: 0 };
}

/** Some at a time. */
async function each<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items].values();
  const worker = async () => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

/** What a smuggle is made of. */
export interface SmuggleParts {
  /** The path of a method that exists. */
  readonly path: string;
  /** The line with a caller's credentials, without its end. */
  readonly authorization: string;
  /** The request that must not be taken for one. */
  readonly hidden: string;
}

/** A smuggle: what it is called, and its bytes. */
export type Smuggle = readonly [name: string, bytes: Buffer];

const json = '{"id":"user-1"}';

/**
 * Requests with another one behind or within, in a place where one server sees the end of the first and another one does not:
 * whoever stands before the gateway would let the second through unseen.
 */
export function smugglesOf(parts: SmuggleParts): readonly Smuggle[] {
  return [...lengths(parts), ...codings(parts), ...chunks(parts), ...bodies(parts)].map(
    ([name, text]) => [name, Buffer.from(text, "latin1")] as const,
  );
}

type Text = readonly [name: string, text: string];

function post({ path, authorization }: SmuggleParts, lines: string, body: string, version = "1.1"): string {
  const head = `POST ${path} HTTP/${version}\r\nhost: localhost\r\n${authorization}\r\n`;
  return `${head}content-type: application/json\r\n${lines}\r\n${body}`;
}

/** Two lengths, or one that can be read in two ways: each side believes another. */
function lengths(parts: SmuggleParts): Text[] {
  const { hidden } = parts;
  const long = json.length + hidden.length;
  const values = [
    `${json.length}\r\ncontent-length: ${long}`,
    `${long}\r\ncontent-length: ${json.length}`,
    ...[`${json.length}, ${long}`, `+${json.length}`, `-${json.length}`, `0x${json.length.toString(16)}`],
    ...[`${json.length}\x0b`, `${json.length}\0`, `${json.length} ${long}`, `${json.length}.0`, `1e1`, ""],
    `${json.length}\r\n content-length: ${long}`,
  ];
  return values.map((value) => [
    `content-length: ${JSON.stringify(value)}`,
    post(parts, `content-length: ${value}\r\n`, `${json}${hidden}`),
  ]);
}

/** Chunked or not: one side sees that the body ends at once, the other that it has a length. */
function codings(parts: SmuggleParts): Text[] {
  const body = `0\r\n\r\n${parts.hidden}`;
  const lines = [
    ...["transfer-encoding: chunked", "Transfer-Encoding : chunked", "transfer-encoding\t: chunked"],
    ...[
      "x: y\r\n transfer-encoding: chunked",
      "x: y\ntransfer-encoding: chunked",
      "x: y\rtransfer-encoding: chunked",
    ],
    ...[
      "transfer-encoding: xchunked",
      "transfer-encoding: chunked, identity",
      "transfer-encoding: identity, chunked",
    ],
    ...['transfer-encoding: "chunked"', "transfer-encoding: chunked;q=1", "transfer-encoding: chunked\x0b"],
    ...[
      "transfer-encoding: chunked\r\ntransfer-encoding: cow",
      "transfer-encoding: cow\r\ntransfer-encoding: chunked",
    ],
    ...[
      "transfer-encoding:\r\n chunked",
      "transfer-encoding: \0chunked",
      "transfer-encoding: chunked\r\n\tx",
    ],
    ...["transfer\0-encoding: chunked", "transfer-encoding: chunked, chunked", "transfer-encoding: gzip, x"],
  ];
  return [
    ...lines.map(
      (line): Text => [
        `${JSON.stringify(line)} and a length`,
        post(parts, `content-length: ${body.length}\r\n${line}\r\n`, body),
      ],
    ),
    ...lines.slice(6).map((line): Text => [JSON.stringify(line), post(parts, `${line}\r\n`, body)]),
    [
      "chunked in HTTP/1.0",
      post(
        parts,
        "connection: keep-alive\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n",
        body,
        "1.0",
      ),
    ],
  ];
}

/** Chunks whose ends are seen in different places. */
function chunks(parts: SmuggleParts): Text[] {
  const { hidden } = parts;
  const length = json.length.toString(16);
  const end = `\r\n0\r\n\r\n`;
  const bodies = [
    ...[`0x${length}\r\n${json}${end}`, `-1\r\n${json}${end}`, `${length} \r\n${json}\r\n-0\r\n\r\n`],
    ...[`${length}\n${json}\n0\n\n`, `${length};a\n${json}${end}`, `${length};a=\r${json}${end}`],
    ...[`1\r\n${json}${end}`, `${length}\r\n${json}0\r\n\r\n`, `${length}\r\n${json}XX0\r\n\r\n`],
    ...[`${"f".repeat(17)}\r\n${json}${end}`, `10000000000000000\r\n${json}${end}`, `\r\n${json}${end}`],
    `${length}\r\n${json}\r\n0\r\nx\n: y\r\n\r\n`,
  ];
  return bodies.map((body) => [
    `chunks ${JSON.stringify(body)}`,
    post(parts, "transfer-encoding: chunked\r\n", `${body}${hidden}`),
  ]);
}

/** Bodies that nobody reads, since the request is refused or has no use for one: they are no requests either. */
function bodies(parts: SmuggleParts): Text[] {
  const { path, hidden, authorization } = parts;
  const long = `content-length: ${hidden.length}\r\n`;
  const stranger = { ...parts, authorization: "x: y" };
  return [
    ["the body of a stranger", post(stranger, long, hidden)],
    ["the body of a bad token", post({ ...parts, authorization: "authorization: Bearer x" }, long, hidden)],
    ["a body for nobody", post({ ...parts, path: "/nobody.Knows/This" }, long, hidden)],
    ["a body of no known type", post(parts, long, hidden).replace("application/json", "text/plain")],
    ["a body that is too large", post(parts, "content-length: 99999999\r\n", hidden)],
    ["a body that was to be asked for", post(stranger, `${long}expect: 100-continue\r\n`, hidden)],
    ["a body with another expectation", post(parts, `${long}expect: x\r\n`, hidden)],
    [
      "the body of a GET",
      `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${authorization}\r\n${long}\r\n${hidden}`,
    ],
    [
      "the body of a HEAD",
      `HEAD ${path} HTTP/1.1\r\nhost: localhost\r\n${authorization}\r\n${long}\r\n${hidden}`,
    ],
    ["the body of a health check", `GET /healthz HTTP/1.1\r\nhost: localhost\r\n${long}\r\n${hidden}`],
    ["the body of a preflight", `OPTIONS ${path} HTTP/1.1\r\nhost: localhost\r\n${long}\r\n${hidden}`],
    ["a body with two hosts", post(parts, `host: other\r\n${long}`, hidden)],
    ["a body with 200 header lines", post(parts, `${"x: y\r\n".repeat(200)}${long}`, hidden)],
    ["what follows a CONNECT", `CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n\r\n${hidden}`],
  ];
}

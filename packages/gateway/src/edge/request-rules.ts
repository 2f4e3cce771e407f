import type { IncomingMessage } from "node:http";

/** Why a request is refused before anything looks at what it asks for. */
export interface RequestProblem {
  readonly status: number;
  readonly message: string;
}

/** More header lines than any client of ours sends. */
const maxHeaderLines = 100;

/** More than any path of ours has. The query of a GET, which holds a message, may be as long as a header. */
const maxPathBytes = 2_048;

/**
 * What is wrong with the form of a request, if anything: exactly one valid host, at most 100 header lines, credentials and a
 * type that are said once, a path that can be read in one way only, and in a Connect GET a message in valid UTF-8 and base64. What is let through here can be turned
 * into a URL, so that no request ends in an answer that looks like an empty success.
 */
export function requestProblem(request: IncomingMessage): RequestProblem | undefined {
  if (request.rawHeaders.length / 2 > maxHeaderLines)
    return { status: 431, message: `The request has more than ${maxHeaderLines} header lines.` };
  if (!hasValidHost(request)) return { status: 400, message: "The request needs exactly one valid host." };
  const repeated = repeatedHeader(request);
  if (repeated !== undefined)
    return { status: 400, message: `The request has more than one ${repeated} header.` };
  const path = pathProblem(request.url ?? "");
  if (path !== undefined) return path;
  const wrong = request.method === "GET" ? messageProblem(request.url ?? "") : undefined;
  return wrong === undefined ? undefined : { status: 400, message: `message: ${wrong}` };
}

/** Headers of which Node shows the first alone. Whoever stands before the gateway may have looked at another one. */
const saidOnce: ReadonlySet<string> = new Set(["authorization", "content-type"]);

function repeatedHeader({ rawHeaders }: IncomingMessage): string | undefined {
  const seen = new Set<string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() ?? "";
    if (!saidOnce.has(name)) continue;
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}

/** RFC 9110, 7.2; HTTP/2 has it as `:authority`, and may repeat it as `host`. */
function hasValidHost(request: IncomingMessage): boolean {
  const hosts = new Set<string>();
  let lines = 0;
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index]?.toLowerCase();
    if (name !== "host" && name !== ":authority") continue;
    if (name === "host") lines++;
    hosts.add(request.rawHeaders[index + 1] ?? "");
  }
  const [host = ""] = hosts;
  return lines <= 1 && hosts.size === 1 && isHost(host);
}

function isHost(host: string): boolean {
  const port = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/i.exec(host);
  if (port === null || Number(port[1] ?? 0) > 65_535) return false;
  return URL.canParse(`http://${host}`);
}

/**
 * A path in its one normal form (RFC 3986, 6.2.2): whoever compares paths before the gateway, such as a firewall, must see
 * the one that the gateway sees. The whole URL in place of the path is for proxies.
 */
function pathProblem(url: string): RequestProblem | undefined {
  const [path = ""] = url.split("?", 1);
  if (path.length > maxPathBytes)
    return { status: 414, message: `The path has more than ${maxPathBytes} bytes.` };
  const rule = pathRules.find(({ broken }) => broken.test(path));
  return rule === undefined ? undefined : { status: 400, message: `The path ${rule.message}.` };
}

const pathRules: readonly { readonly broken: RegExp; readonly message: string }[] = [
  { broken: /^(?!\/)/, message: "must begin with a slash" },
  { broken: /[^\x21-\x7e]|["#<>\\^`{|}]/, message: "has characters that must be percent-encoded" },
  { broken: /\/\/|\/\.{1,2}(?:\/|$)/, message: "must not have empty, . or .. parts" },
  { broken: /%(?![0-9a-f]{2})/i, message: "has a percent sign that begins no escape" },
  { broken: /%(?:[01].|2f|5c|7f)/i, message: "must not have escaped slashes or control characters" },
  // Letters, digits and -._~ are themselves: RPCs have nothing else in their paths.
  {
    broken: /%(?:2[de]|3\d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/i,
    message: "must not escape what needs no escape",
  },
];

/** Whoever decodes the query later replaces what is not UTF-8 by U+FFFD, and so would change the request. */
function messageProblem(url: string): string | undefined {
  const query = url.indexOf("?");
  if (query < 0) return undefined;
  const pairs = url.slice(query + 1).split("&");
  const messages = pairs.filter((pair) => named.message.test(pair));
  const [message] = messages;
  if (message === undefined) return undefined;
  // Node shows the bytes of a URL as Latin-1.
  if (messages.some((pair) => /[^\x21-\x7e]/.test(pair))) return "is not percent-encoded";
  if (!messages.every(isUtf8)) return "is not valid UTF-8";
  const form = pairs.find((pair) => named.base64.test(pair));
  const isText = form === undefined || decodedValue(form) !== "1";
  return isText || base64.test(decodedValue(message)) ? undefined : "is not valid base64";
}

/** The parameters of these names, escaped or not. There can be thousands of others: none of those is taken apart. */
const named = {
  message: /^(?:m|%6[dD])(?:e|%65)(?:s|%73)(?:s|%73)(?:a|%61)(?:g|%67)(?:e|%65)(?:=|$)/,
  base64: /^(?:b|%62)(?:a|%61)(?:s|%73)(?:e|%65)(?:6|%36)(?:4|%34)(?:=|$)/,
};

function decodedValue(pair: string): string {
  const [value = ""] = new URLSearchParams(pair).values();
  return value;
}

/** Of both alphabets, padded or not. A character that is left over after groups of four says nothing. */
const base64 = /^(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?$/;

/** A percent sign that begins no escape stands for itself. */
function isUtf8(encoded: string): boolean {
  try {
    decodeURIComponent(encoded.replace(/%(?![0-9a-f]{2})/gi, "%25"));
    return true;
  } catch {
    return false;
  }
}

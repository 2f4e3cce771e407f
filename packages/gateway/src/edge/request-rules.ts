import type { IncomingMessage } from "node:http";

/** Why a request is refused before anything looks at what it asks for. */
export interface RequestProblem {
  readonly status: number;
  readonly message: string;
}

/** More header lines than any client of ours sends. */
const maxHeaderLines = 100;

/**
 * What is wrong with the form of a request, if anything: exactly one valid host, at most 100 header lines, and in a
 * Connect GET a message in valid UTF-8 and base64. What is let through here can be turned into a URL, so that no request ends
 * in an answer that looks like an empty success.
 */
export function requestProblem(request: IncomingMessage): RequestProblem | undefined {
  if (request.rawHeaders.length / 2 > maxHeaderLines)
    return { status: 431, message: `The request has more than ${maxHeaderLines} header lines.` };
  if (!hasValidHost(request)) return { status: 400, message: "The request needs exactly one valid host." };
  const wrong = request.method === "GET" ? messageProblem(request.url ?? "") : undefined;
  return wrong === undefined ? undefined : { status: 400, message: `message: ${wrong}` };
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

/** Whoever decodes the query later replaces what is not UTF-8 by U+FFFD, and so would change the request. */
function messageProblem(url: string): string | undefined {
  const query = url.indexOf("?");
  if (query < 0) return undefined;
  const pairs = url.slice(query + 1).split("&");
  const given = pairs.filter((pair) => new URLSearchParams(`?${pair}`).has("message"));
  // Node shows the bytes of a URL as Latin-1.
  if (given.some((pair) => /[^\x21-\x7e]/.test(pair))) return "is not percent-encoded";
  if (!given.every(isUtf8)) return "is not valid UTF-8";
  const parameters = new URLSearchParams(url.slice(query));
  const isText = parameters.get("base64") !== "1";
  return isText || /^[A-Za-z0-9+/_-]*={0,2}$/.test(parameters.get("message") ?? "")
    ? undefined
    : "is not valid base64";
}

/** A percent sign that begins no escape stands for itself. */
function isUtf8(encoded: string): boolean {
  try {
    decodeURIComponent(encoded.replace(/%(?![0-9a-f]{2})/gi, "%25"));
    return true;
  } catch {
    return false;
  }
}

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
 * Connect GET a message in valid base64. What is let through here can be turned into a URL, so that no request ends
 * in an answer that looks like an empty success.
 */
export function requestProblem(request: IncomingMessage): RequestProblem | undefined {
  if (request.rawHeaders.length / 2 > maxHeaderLines)
    return { status: 431, message: `The request has more than ${maxHeaderLines} header lines.` };
  if (!hasValidHost(request)) return { status: 400, message: "The request needs exactly one valid host." };
  if (request.method === "GET" && !hasValidMessage(request.url ?? ""))
    return { status: 400, message: "message: is not valid base64" };
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

function hasValidMessage(url: string): boolean {
  const query = url.indexOf("?");
  if (query < 0 || !url.includes("base64=1", query)) return true;
  const parameters = new URLSearchParams(url.slice(query + 1));
  return parameters.get("base64") !== "1" || /^[A-Za-z0-9+/_-]*={0,2}$/.test(parameters.get("message") ?? "");
}

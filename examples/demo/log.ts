import { styleText } from "node:util";

/** The fields of the gateway's request log that the terminal shows. */
interface Line {
  readonly time: string;
  readonly msg: string;
  readonly path?: string;
  readonly status?: number;
  readonly rpc?: string;
  readonly protocol?: string;
  readonly code?: string;
  readonly caller?: string;
  readonly durationMs?: number;
  readonly upstreamCalls?: readonly { readonly call: string; readonly durationMs: number }[];
  readonly err?: { readonly message: string };
  readonly level: number;
  /** What is wrong with a file that was changed. */
  readonly problems?: readonly string[];
}

/** Shows one line of the gateway's log so that a person can follow it. */
export function printLog(text: string): void {
  const line: Line = JSON.parse(text);
  // Tokens are fetched by the banner, and by hand before every other line.
  if (line.path === "/demo/token") return;
  if (line.msg === "request") process.stdout.write(`${requestLine(line)}\n`);
  else if (line.level >= warn || line.msg.includes("reloaded")) process.stdout.write(`${noteLine(line)}\n`);
}

/** pino's level of a warning. */
const warn = 40;

function noteLine({ level, msg, err, problems = [] }: Line): string {
  const note = styleText(level >= warn ? "red" : "green", msg);
  return [note, ...(err === undefined ? [] : [err.message]), ...problems].join("\n  ");
}

function requestLine(line: Line): string {
  const outcome = line.code ?? String(line.status);
  const good = line.code === undefined ? (line.status ?? 500) < 400 : line.code === "ok";
  return [
    styleText("dim", line.time.slice(11, 19)),
    styleText(good ? "green" : "yellow", outcome.padEnd(18)),
    (line.protocol ?? "http").padEnd(8),
    line.rpc?.replace(/^.*\.(?=\w+\/)/, "") ?? line.path,
    styleText("dim", `${line.durationMs} ms ${line.caller ?? ""}`),
    styleText("cyan", upstreamCalls(line.upstreamCalls ?? [])),
    styleText("red", line.err?.message ?? ""),
  ].join("  ");
}

/** `orders.listOrders 3 ms + users.batchGetUsers 2 ms` */
function upstreamCalls(calls: NonNullable<Line["upstreamCalls"]>): string {
  return calls.map(({ call, durationMs }) => `${call} ${durationMs} ms`).join(" + ");
}

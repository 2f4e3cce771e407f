import type { Code } from "@connectrpc/connect";
import { codeToHttpStatus, codeToString } from "@connectrpc/connect/protocol-connect";
import { type ReasonEntry, reasons } from "../reasons.ts";

/**
 * The page of errors, in Markdown: every code and reason that a call can fail with, as the catalogue has them.
 * `docs/errors.md` is what this gives.
 */
export function errorsPage(): string {
  const byCode = Map.groupBy(Object.entries<ReasonEntry>(reasons), ([, { code }]) => code);
  return [
    introduction,
    "## What an error carries\n",
    table(["what", "where", "when"], carried),
    "## Where it stands\n",
    table(["protocol", "code and message", "details"], places),
    closing,
    ...[...byCode].flatMap(([code, entries]) => [
      `## \`${codeToString(code)}\`\n`,
      `${statusOf(code)}\n`,
      table(["reason", "when", "message", "what to do"], entries.map(rowOf)),
    ]),
  ]
    .join("\n")
    .trimEnd()
    .concat("\n");
}

/** What renews the page. */
export const errorsCommand = "npx -y pnpm@12 portico errors --out docs/errors.md";

const introduction = `# Errors

Every reason for which a call fails, by its code. Written from the catalogue, \`packages/gateway/src/reasons.ts\`, by
\`${errorsCommand}\`.

Decide by the reason, or by the code where that is enough: messages are for people, and change. A reason never gets
another meaning. There can be new ones: treat a reason that you do not know by its code.
`;

const carried = [
  ["the reason", "`google.rpc.ErrorInfo`: `reason`", "always"],
  ["whose reason it is", "`google.rpc.ErrorInfo`: `domain`", "always; what `ERROR_DOMAIN` says"],
  ["facts for programs", "`google.rpc.ErrorInfo`: `metadata`", "where the reason says so, below"],
  [
    "the request id",
    "`google.rpc.RequestInfo`: `request_id`; header `x-request-id`",
    "always; the header is on every answer",
  ],
  [
    "the fields that are wrong",
    "`google.rpc.BadRequest`: `field_violations`",
    "with `INVALID_FIELDS`: the first 20, each by its path in the proto, such as `line_items[2].quantity`",
  ],
  [
    "when to call again",
    "`google.rpc.RetryInfo`: `retry_delay`; header `retry-after`",
    "where that is known; the header has whole seconds",
  ],
  [
    "what is left of the limits",
    "headers `ratelimit` and `ratelimit-policy`",
    "where calls are limited; not on errors alone",
  ],
];

const places = [
  [
    "Connect, plain JSON, GET",
    "`code` and `message` in the JSON of the body; the HTTP status as below",
    "`details` in the JSON: `type` names the message, `value` has it in base64",
  ],
  [
    "Connect, streams",
    "HTTP 200; `error` in the JSON of the last message",
    "`details` of that `error`, in the same form",
  ],
  [
    "gRPC",
    "HTTP 200; `grpc-status` and `grpc-message`, in the trailers or the headers",
    "`grpc-status-details-bin` beside them: a `google.rpc.Status` in base64",
  ],
  [
    "gRPC-Web",
    "HTTP 200; the same, in the last frame of the body or the headers",
    "`grpc-status-details-bin` beside them",
  ],
];

const closing = `What is no call yet is refused as in Connect, with HTTP 405 for a wrong HTTP method and 415 for a wrong content type. A
path that leads nowhere is told in the form of the protocol that asks, to Connect with HTTP 404.
`;

function statusOf(code: Code): string {
  return `gRPC status ${code}, HTTP status ${codeToHttpStatus(code)}.`;
}

function rowOf([reason, { when, message, remedy }]: readonly [string, ReasonEntry]): string[] {
  return [`\`${reason}\``, when, message, remedy];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const safe = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(...safe.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |\n`;
  const [first = [], ...others] = safe;
  return [first, widths.map((width) => "-".repeat(width)), ...others].map(line).join("");
}

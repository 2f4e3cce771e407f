import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { type Answer, canonical, pathOf, type Target, type UnaryCall, type Way } from "./way.ts";

/** What people type. */
export const commandLineWays: readonly Way[] = [
  curlWay("--http1.1"),
  curlWay("--http2-prior-knowledge"),
  curlGetWay(),
  bufWay("connect"),
  bufWay("connect", "--http2-prior-knowledge"),
  bufWay("grpc"),
  bufWay("grpcweb"),
  bufWay("grpcweb", "--http2-prior-knowledge"),
];

const root = fileURLToPath(new URL("../..", import.meta.url));

function curlWay(version: "--http1.1" | "--http2-prior-knowledge"): Way {
  return {
    name: `curl ${version}`,
    program: "curl",
    call: (target, call) => {
      // With TLS, the version is agreed on by ALPN.
      const flag = target.ca !== undefined && version === "--http2-prior-knowledge" ? "--http2" : version;
      const json = ["-H", "content-type: application/json", "-d", JSON.stringify(call.request)];
      return curl(target, call, [flag, ...json, target.url + pathOf(call.method)]);
    },
  };
}

function curlGetWay(): Way {
  return {
    name: "curl GET",
    program: "curl",
    cannot: ({ method }) => method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
    call: (target, call) => {
      const query = new URLSearchParams({ encoding: "json", message: JSON.stringify(call.request) });
      return curl(target, call, ["--http1.1", `${target.url}${pathOf(call.method)}?${query}`]);
    },
  };
}

async function curl(
  target: Target,
  { method, headers }: UnaryCall,
  args: readonly string[],
): Promise<Answer> {
  const { stdout } = await run("curl", target, ["-sS", "-i", ...headerArgs(headers), ...args]);
  const [head = "", body = ""] = stdout.split("\r\n\r\n");
  const answer = JSON.parse(body);
  // curl falls back to another version without a word.
  if (args.some((arg) => arg.startsWith("--http2")) !== head.startsWith("HTTP/2"))
    throw new Error(`curl spoke ${head.slice(0, 8)}`);
  if (/^HTTP\/\S+ 200/.test(head)) return { code: "ok", message: canonical(method.output, answer) };
  return { code: answer.code, message: answer.message, requestId: requestIdIn(head) };
}

/** `buf curl` looks a method up in the proto files before it calls. */
function bufWay(protocol: "connect" | "grpc" | "grpcweb", version?: "--http2-prior-knowledge"): Way {
  const flags = ["--protocol", protocol, ...(version === undefined ? [] : [version])];
  return {
    name: `buf curl ${flags.join(" ")}`,
    cannot: ({ method }) => method.parent.method[method.localName] === undefined,
    call: async (target, { method, request, headers }) => {
      const what = ["--schema", ".", "-v", "-d", JSON.stringify(request), target.url + pathOf(method)];
      const { stdout, stderr, failed } = await run(join(root, "node_modules/.bin/buf"), target, [
        ...["curl", ...flags, ...headerArgs(headers)],
        ...what,
      ]);
      if (!failed) return { code: "ok", message: canonical(method.output, JSON.parse(stdout)) };
      const error = JSON.parse(stderr.slice(stderr.indexOf("\n{") + 1));
      return { code: error.code, message: error.message, requestId: requestIdIn(stderr) };
    },
  };
}

function headerArgs(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
}

function requestIdIn(text: string): string | undefined {
  return /x-request-id: (\S+)/i.exec(text)?.[1];
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly failed: boolean;
}

async function run(program: string, { ca }: Target, args: readonly string[]): Promise<Output> {
  if (ca === undefined) return execute(program, args);
  const folder = await mkdtemp(join(tmpdir(), "portico-ca-"));
  try {
    const file = join(folder, "ca.pem");
    await writeFile(file, ca);
    // buf's flags belong to its subcommand.
    return await execute(
      program,
      program === "curl" ? ["--cacert", file, ...args] : [...args, "--cacert", file],
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}

function execute(program: string, args: readonly string[]): Promise<Output> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd: root }, (error, stdout, stderr) => {
      // An exit code is an answer; a program that could not run is not.
      if (error !== null && typeof error.code !== "number") reject(error);
      else if (error !== null && stdout === "" && !stderr.includes("{")) reject(new Error(stderr));
      else resolve({ stdout, stderr, failed: error !== null });
    });
  });
}

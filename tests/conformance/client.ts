import { createClient } from "@connectrpc/connect";
import { createSession, type UpstreamSession } from "../../packages/gateway/src/upstream/session/session.ts";
import { createSessionTransport } from "../../packages/gateway/src/upstream/session/transport.ts";
import {
  type ClientCompatRequest,
  ClientCompatRequestSchema,
  ClientCompatResponseSchema,
} from "../gen/connectrpc/conformance/v1/client_compat_pb.ts";
import { ConformanceService } from "../gen/connectrpc/conformance/v1/service_pb.ts";
import { callAsTold } from "./client-calls.ts";
import { readMessages, writeMessage } from "./stdio.ts";

// The client under test: calls as the gateway makes them to internal services, over its own sessions. Started by the
// conformance runner, which says on standard input what to call, and hears on standard output what came of it.

/** More calls at a time than this would make each slower than its deadline allows. */
const maxAtATime = 16;

const sessions = new Map<string, UpstreamSession>();
const running = new Set<Promise<void>>();
for await (const told of readMessages(ClientCompatRequestSchema, process.stdin)) {
  const call = answer(told).finally(() => running.delete(call));
  running.add(call);
  if (running.size >= maxAtATime) await Promise.race(running);
}
await Promise.all(running);
for (const session of sessions.values()) session.close();

async function answer(told: ClientCompatRequest): Promise<void> {
  const { testName } = told;
  try {
    const response = await callAsTold(clientFor(told), told);
    tell({ testName, result: { case: "response", value: response } });
  } catch (error) {
    tell({ testName, result: { case: "error", value: { message: String(error) } } });
  }
}

function tell(response: Parameters<typeof writeMessage<typeof ClientCompatResponseSchema>>[1]): void {
  writeMessage(ClientCompatResponseSchema, response, process.stdout);
}

function clientFor(told: ClientCompatRequest) {
  const transport = createSessionTransport(sessionFor(told), told.messageReceiveLimit || 4 * 2 ** 20);
  return createClient(ConformanceService, transport);
}

/** One for each server, with the client certificate that it wants. */
function sessionFor({ host, port, serverTlsCert, clientTlsCreds }: ClientCompatRequest): UpstreamSession {
  const known = sessions.get(`${host}:${port}`);
  if (known !== undefined) return known;
  const secure = serverTlsCert.length > 0;
  const url = new URL(`${secure ? "https" : "http"}://${host}:${port}`);
  const own = clientTlsCreds && {
    cert: Buffer.from(clientTlsCreds.cert),
    key: Buffer.from(clientTlsCreds.key),
  };
  const session = createSession(
    "reference",
    [url],
    secure ? { tls: { ca: Buffer.from(serverTlsCert), ...own } } : {},
  );
  sessions.set(`${host}:${port}`, session);
  return session;
}

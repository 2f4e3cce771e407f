import { createServer, type Socket } from "node:net";
import type { Writable } from "node:stream";
import {
  type ServerCompatRequest,
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "../gen/connectrpc/conformance/v1/server_compat_pb.ts";
import { type ServedConformance, serveConformance } from "./edge.ts";
import { readMessages, writeMessage } from "./stdio.ts";

// The server under test. The conformance runner says on standard input how to listen, and hears on standard output where.
// With the path of a socket as its argument, the same is said to each of its connections, and the server listens for as
// long as the connection lasts: see relay.ts.

const [path] = process.argv.slice(2);
if (path === undefined) {
  for await (const told of readMessages(ServerCompatRequestSchema, process.stdin))
    await start(told, process.stdout);
} else {
  createServer({ allowHalfOpen: true }, serveFor).listen(path, () => process.stdout.write("listening\n"));
}

async function serveFor(connection: Socket): Promise<void> {
  const over = new Promise((resolve) => connection.once("close", resolve));
  connection.on("error", () => {});
  for await (const told of readMessages(ServerCompatRequestSchema, connection)) {
    const served = await start(told, connection);
    void over.then(served.close);
  }
}

async function start(
  { serverCreds, clientTlsCert, messageReceiveLimit }: ServerCompatRequest,
  output: Writable,
): Promise<ServedConformance> {
  const served = await serveConformance({
    ...(serverCreds !== undefined && {
      tls: {
        cert: text(serverCreds.cert),
        key: text(serverCreds.key),
        ...(clientTlsCert.length > 0 && { clientCa: text(clientTlsCert) }),
      },
    }),
    maxRequestBytes: messageReceiveLimit,
  });
  const { hostname: host, port } = served.url;
  const pemCert = serverCreds?.cert ?? new Uint8Array();
  writeMessage(ServerCompatResponseSchema, { host, port: Number(port), pemCert }, output);
  return served;
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

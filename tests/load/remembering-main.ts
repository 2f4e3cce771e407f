import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";

// The program: stands before the services whose URLs it gets, and answers what it was asked before from memory.

/** An answer as it came. */
interface Answer {
  readonly body: Buffer;
  readonly trailers: IncomingHttpHeaders;
}

process.on("disconnect", () => process.exit(0));
const given: Readonly<Record<string, string>> = JSON.parse(process.argv[2] ?? "{}");
const urls: Record<string, string> = {};
for (const [name, url] of Object.entries(given)) urls[name] = await stand(url);
process.send?.({ urls });

async function stand(before: string): Promise<string> {
  const service = connect(before);
  const answers = new Map<string, Answer>();
  const server = createServer();
  server.on("stream", (stream, headers) => {
    // Whoever asked may have left.
    stream.on("error", () => {});
    void answerTo(stream, headers).catch(() => stream.close());
  });
  const answerTo = async (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const path = headers[":path"] ?? "";
    const body = await readAll(stream);
    const key = createHash("sha1").update(path).update(body).digest("base64");
    const answer = answers.get(key) ?? (await forward(headers, body));
    // What could not be done may well be possible the next time.
    if (answer.trailers["grpc-status"] === "0") answers.set(key, answer);
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": answer.trailers["grpc-status"] ?? "2" }),
    );
    stream.end(answer.body);
  };
  const forward = async ({ ":path": path, "content-type": type }: IncomingHttpHeaders, body: Buffer) => {
    const stream = service.request({
      ":method": "POST",
      ":path": path,
      "content-type": type,
      te: "trailers",
    });
    let trailers: IncomingHttpHeaders = {};
    stream.on("response", (head) => {
      trailers = head;
    });
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    stream.end(body);
    return { body: await readAll(stream), trailers };
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A TCP server's address is never the text that a Unix socket's is.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** What came back for an input. */
export type Reply =
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: Buffer;
    }
  /** The connection was closed before there was an answer. */
  | { readonly kind: "closed" }
  /** Nothing for so long that nothing more was waited for. */
  | { readonly kind: "silence" };

/** A connection that sends one request after the other, and opens a new one when the last was closed. */
export interface Wire extends Disposable {
  readonly send: (bytes: Buffer) => Promise<Reply>;
}

/**
 * Speaks HTTP/1.1 by hand. After an answer that may leave the connection in the middle of something, it is closed.
 *
 * @param silentMs how long an answer may take
 */
export function createWire(url: string, silentMs: number): Wire {
  const { hostname, port } = new URL(url);
  let socket: Socket | undefined;
  const open = async (): Promise<Socket> => {
    if (socket !== undefined && !socket.destroyed && socket.writable) return socket;
    const opened = connect({ host: hostname, port: Number(port), noDelay: true });
    opened.on("error", () => {});
    await once(opened, "connect").catch(() => {});
    socket = opened;
    return opened;
  };
  return {
    send: async (bytes) => {
      const used = await open();
      const reply = await ask(used, bytes, silentMs);
      if (reply.kind !== "answer" || !isInOrder(bytes, reply)) used.destroy();
      return reply;
    },
    [Symbol.dispose]: () => socket?.destroy(),
  };
}

/** Whether both sides agree where the next request begins: the answer does not close, and the request was whole. */
function isInOrder(bytes: Buffer, reply: Extract<Reply, { kind: "answer" }>): boolean {
  if (reply.status >= 400 || reply.headers["connection"] === "close") return false;
  const end = bytes.indexOf("\r\n\r\n");
  const length = /\r\ncontent-length: (\d+)(?=\r\n|$)/i.exec(bytes.subarray(0, end).toString("latin1"));
  return end >= 0 && bytes.length - end - 4 === Number(length?.[1] ?? 0);
}

function ask(socket: Socket, bytes: Buffer, silentMs: number): Promise<Reply> {
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    const done = (reply: Reply) => {
      clearTimeout(timer);
      socket.off("data", take).off("close", closed);
      resolve(reply);
    };
    const take = (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      const answer = readAnswer(seen);
      if (answer !== undefined) done(answer);
    };
    const closed = () => done(readAnswer(seen, true) ?? { kind: "closed" });
    const timer = setTimeout(() => done({ kind: "silence" }), silentMs);
    socket.on("data", take).on("close", closed);
    if (socket.destroyed) closed();
    else socket.write(bytes);
  });
}

/** The first final answer in the bytes; `undefined` while it is not whole. */
function readAnswer(seen: Buffer, ended = false): Reply | undefined {
  const end = seen.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [first = "", ...lines] = seen.subarray(0, end).toString("latin1").split("\r\n");
  const status = Number(first.split(" ")[1]);
  if (status === 100) return readAnswer(seen.subarray(end + 4), ended);
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const rest = seen.subarray(end + 4);
  const body = readBody(headers, rest, ended, status);
  return body === undefined ? undefined : { kind: "answer", status, headers, body };
}

function readBody(
  headers: Readonly<Record<string, string>>,
  rest: Buffer,
  ended: boolean,
  status: number,
): Buffer | undefined {
  if (status === 204 || status === 304) return Buffer.alloc(0);
  const length = headers["content-length"];
  if (length !== undefined)
    return rest.length >= Number(length) ? rest.subarray(0, Number(length)) : undefined;
  if (headers["transfer-encoding"] === "chunked") return readChunks(rest);
  return ended ? rest : undefined;
}

function readChunks(rest: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = rest.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(rest.subarray(at, line).toString("latin1"), 16);
    if (rest.length < line + 2 + size + 2) return undefined;
    if (size === 0) return Buffer.concat(chunks);
    chunks.push(rest.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}

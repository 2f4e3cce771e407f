import { connect, type Socket } from "node:net";
import type { PreparedRequest } from "./requests.ts";
import { type CallEnd, hung, network, readConnect, type Sender, type SenderOptions } from "./senders.ts";

/** A call that waits for a connection, or for its answer. */
interface Job {
  readonly bytes: Buffer;
  readonly answer: Uint8Array | undefined;
  readonly end: (end: CallEnd) => void;
  over: boolean;
}

/** A connection, and what is on it. */
interface Line {
  readonly socket: Socket;
  job: Job | undefined;
  seen: Buffer;
}

/**
 * Sends over HTTP/1.1 with keep-alive at a fraction of what Node's own client takes, so that one processor can ask for more
 * than another can answer. Reads answers that say their length, which all answers to unary calls do.
 */
export function createLeanSender({ url, connections, patienceMs }: SenderOptions): Sender {
  const { hostname, port } = new URL(url);
  const lines = new Set<Line>();
  const idle: Line[] = [];
  const waiting: Job[] = [];
  const bytesOf = remember(writeRequest);

  const begin = (line: Line, job: Job) => {
    line.job = job;
    line.socket.write(job.bytes);
  };
  const next = (): Job | undefined => {
    for (;;) {
      const job = waiting.shift();
      if (job?.over !== true) return job;
    }
  };
  const free = (line: Line) => {
    line.job = undefined;
    const job = next();
    if (job === undefined) idle.push(line);
    else begin(line, job);
  };
  const open = (job: Job) => {
    const line: Line = { socket: connect(Number(port), hostname).setNoDelay(), job: undefined, seen: none };
    lines.add(line);
    line.socket.on("data", (chunk) => {
      line.seen = line.seen.length === 0 ? chunk : Buffer.concat([line.seen, chunk]);
      const answer = readAnswer(line.seen);
      if (answer === undefined) return;
      line.seen = none;
      line.job?.end(readConnect(answer.status, answer.body, line.job.answer));
      if (answer.closes) line.socket.destroy();
      else free(line);
    });
    line.socket.on("error", (error) => line.job?.end(network(error)));
    line.socket.on("close", () => {
      lines.delete(line);
      const place = idle.indexOf(line);
      if (place >= 0) idle.splice(place, 1);
      line.job?.end(network(new Error("the connection was closed")));
      const job = next();
      if (job !== undefined) open(job);
    });
    begin(line, job);
  };
  const send = (request: PreparedRequest) =>
    new Promise<CallEnd>((resolve) => {
      const end = (end: CallEnd) => {
        job.over = true;
        clearTimeout(timer);
        resolve(end);
      };
      const timer = setTimeout(() => end(hung), patienceMs);
      const job: Job = { bytes: bytesOf(request), answer: request.answer, end, over: false };
      const line = idle.pop();
      if (line !== undefined) begin(line, job);
      else if (lines.size < connections) open(job);
      else waiting.push(job);
    });
  return {
    send,
    close: () => {
      for (const { socket } of lines) socket.destroy();
    },
  };
}

const none = Buffer.alloc(0);

function writeRequest({ path, headers, body }: PreparedRequest): Buffer {
  const fields = Object.entries({ host: "localhost", ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${fields.join("")}\r\n`), body]);
}

/** An answer, once all of it is there. */
function readAnswer(bytes: Buffer) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = bytes.toString("latin1", 0, end);
  const length = Number(/\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
  const bodyAt = end + 4;
  if (bytes.length < bodyAt + length) return undefined;
  return {
    status: Number(head.slice(9, 12)),
    body: bytes.subarray(bodyAt, bodyAt + length),
    closes: /\nconnection: close/i.test(head),
  };
}

function remember<K extends object, V>(make: (key: K) => V): (key: K) => V {
  const made = new WeakMap<K, V>();
  return (key) => {
    const value = made.get(key) ?? make(key);
    made.set(key, value);
    return value;
  };
}

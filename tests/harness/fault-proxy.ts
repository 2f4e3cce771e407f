import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** What happens to the bytes on their way. */
export type Way =
  /** As they come. */
  | "pass"
  /** Not at all, as when a machine vanishes: connections stay open, new ones are taken, nothing gets through. */
  | "drop"
  /** New connections are reset. */
  | "refuse";

/** A TCP proxy that makes trouble on demand. */
export interface FaultProxy extends AsyncDisposable {
  /** `http://` and where it listens. */
  readonly url: string;
  readonly port: number;
  /** Passes what comes from now on to another place: connections that are open stay where they are. */
  readonly target: (url: string) => void;
  /** How all connections behave from now on. What was dropped is lost. */
  readonly behave: (way: Way) => void;
  /** Lets the connections that are open go silent for ever. New ones work: the other side of a half-open connection. */
  readonly freeze: () => void;
  /** Stops to read from both sides until `resume()`: what is sent waits in the buffers. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** By how many milliseconds each chunk is late from now on, both ways. */
  readonly delay: (milliseconds: number) => void;
  /** Ends all connections with RST. */
  readonly reset: () => void;
  /** Writes bytes that nobody sent to the clients of all connections. */
  readonly inject: (bytes: Uint8Array | string) => void;
  /** How many connections are open, and how many there have been. */
  readonly connections: () => { readonly open: number; readonly total: number };
}

/**
 * Starts a proxy to where `url` says, on a free port.
 *
 * @example
 * await using proxy = await startFaultProxy(upstreams.urls.users);
 * proxy.freeze();
 */
export async function startFaultProxy(url: string): Promise<FaultProxy> {
  let to = new URL(url);
  let way: Way = "pass";
  let delayMs = 0;
  let paused = false;
  let total = 0;
  const pairs = new Set<Pair>();

  const take = (client: Socket) => {
    total++;
    if (way === "refuse") {
      client.on("error", () => {});
      client.resetAndDestroy();
      return;
    }
    const pair: Pair = { client, server: connect(Number(to.port), to.hostname), frozen: false };
    pairs.add(pair);
    client.setNoDelay();
    pair.server.setNoDelay();
    const end = () => {
      if (pair.frozen || way === "drop") return;
      client.destroy();
      pair.server.destroy();
    };
    for (const socket of [client, pair.server]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        end();
        if (client.destroyed && pair.server.destroyed) pairs.delete(pair);
      });
      if (paused) socket.pause();
    }
    carry(client, pair.server, pair);
    carry(pair.server, client, pair);
  };

  const carry = (from: Socket, to: Socket, pair: Pair) => {
    let due = 0;
    from.on("data", (chunk) => {
      if (pair.frozen || way === "drop") return;
      if (delayMs === 0 && due <= performance.now()) {
        write(from, to, chunk);
        return;
      }
      due = Math.max(due, performance.now() + delayMs);
      setTimeout(() => {
        if (!pair.frozen && way !== "drop") write(from, to, chunk);
      }, due - performance.now());
    });
  };

  const write = (from: Socket, to: Socket, chunk: Buffer) => {
    if (to.destroyed || to.write(chunk)) return;
    from.pause();
    to.once("drain", () => {
      if (!paused) from.resume();
    });
  };

  const server = createServer({ allowHalfOpen: false }, take);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A TCP server's address is never the text that a Unix socket's is.
  const { port } = server.address() as AddressInfo;
  const each = (act: (socket: Socket) => void) => {
    for (const { client, server } of pairs) [client, server].forEach(act);
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    target: (url) => {
      to = new URL(url);
    },
    behave: (next) => {
      way = next;
    },
    freeze: () => {
      for (const pair of pairs) pair.frozen = true;
    },
    pause: () => {
      paused = true;
      each((socket) => void socket.pause());
    },
    resume: () => {
      paused = false;
      each((socket) => void socket.resume());
    },
    delay: (milliseconds) => {
      delayMs = milliseconds;
    },
    reset: () => each((socket) => void socket.resetAndDestroy()),
    inject: (bytes) => {
      for (const { client } of pairs) client.write(bytes);
    },
    connections: () => ({ open: pairs.size, total }),
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      each((socket) => void socket.destroy());
      await closed;
    },
  };
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  frozen: boolean;
}

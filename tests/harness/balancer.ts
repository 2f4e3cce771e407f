import { once } from "node:events";
import { get } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** One of the places that a balancer sends connections to. */
export interface Replica {
  readonly url: string;
  readonly adminUrl: string;
}

/** What stands before replicas: passes TCP connections on to those that say that they are ready. */
export interface Balancer extends AsyncDisposable {
  readonly url: string;
  /** Resolves when the balancer has seen that this many replicas are ready. */
  readonly ready: (count: number) => Promise<void>;
  /** How many connections found no replica that took them. */
  readonly refused: () => number;
}

/** How often each replica is asked, in milliseconds. */
export const pollMs = 50;

/**
 * Starts a balancer on a free port. As a load balancer does, it asks each replica for `/readyz`, sends new connections in
 * turns to those that are ready, and leaves the connections that are open alone.
 */
export async function startBalancer(replicas: readonly Replica[]): Promise<Balancer> {
  const ready = new Set<Replica>();
  const sockets = new Set<Socket>();
  let refused = 0;
  let turn = 0;
  const look = async (replica: Replica) => {
    if (await isReady(replica)) ready.add(replica);
    else ready.delete(replica);
  };
  const timer = setInterval(() => void Promise.all(replicas.map(look)), pollMs);
  const join = (client: Socket, replica: Socket) => {
    for (const [one, other] of [
      [client, replica],
      [replica, client],
    ] as const)
      one.pipe(other).on("close", () => {
        sockets.delete(other);
        one.destroy();
      });
  };
  /** To the next replica if one does not take it, as balancers do: nothing has been sent yet. */
  const pass = (client: Socket) => {
    const [...places] = ready;
    const place = places[turn++ % Math.max(1, places.length)];
    if (place === undefined) {
      refused++;
      client.destroy();
      return;
    }
    const { hostname, port } = new URL(place.url);
    const replica = connect(Number(port), hostname);
    const again = () => {
      ready.delete(place);
      pass(client);
    };
    replica.once("error", again).once("connect", () => {
      sockets.add(replica);
      replica
        .off("error", again)
        .setNoDelay()
        .on("error", () => client.destroy());
      join(client, replica);
    });
  };
  const server = createServer({ pauseOnConnect: true }, (client) => {
    sockets.add(client);
    client.setNoDelay().on("error", () => {});
    pass(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    // A TCP server's address is never the text that a Unix socket's is.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    refused: () => refused,
    ready: async (count) => {
      while (ready.size < count) await new Promise((resolve) => setTimeout(resolve, pollMs / 2));
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function isReady({ adminUrl }: Replica): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = get(`${adminUrl}/readyz`, { agent: false, timeout: 1_000 }, (answer) => {
      answer.resume().on("close", () => resolve(answer.statusCode === 200));
    });
    asked.on("timeout", () => asked.destroy()).on("error", () => resolve(false));
  });
}

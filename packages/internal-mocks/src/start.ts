import type { DescService } from "@bufbuild/protobuf";
import { type Listener, listen } from "./listen.ts";
import { createMocks, type Mocks } from "./mocks.ts";
import { readAddresses, type StartOptions } from "./options.ts";
import type { MockService } from "./service.ts";

/** One internal service behind a port of its own. */
export interface Serving {
  /** Where it listens: `http://127.0.0.1:9101`. Stays the same after `restart()`. */
  readonly url: string;
  /** Takes the service down at once: connections break, and new ones are refused. */
  stop(): Promise<void>;
  /** Brings it back on the same port, with its data. If it is up, its connections break. */
  restart(): Promise<void>;
}

/** The internal services, served. In memory they can be called as well. */
export type RunningMocks = { [Name in keyof Mocks]: Mocks[Name] & Serving } & {
  /** Takes all services down at once and frees the ports. */
  close(): Promise<void>;
};

/** A service that could not listen; `cause` is Node's error. */
export class ListenError extends Error {
  readonly service: keyof Mocks;
  readonly host: string;
  readonly port: number;
  /** Node's code, such as `EADDRINUSE`; empty if there is none. */
  readonly code: string;

  constructor(service: keyof Mocks, host: string, port: number, cause: unknown) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    super(`${service} cannot listen on port ${port} of ${host}: ${code || String(cause)}`, { cause });
    this.name = "ListenError";
    this.service = service;
    this.host = host;
    this.port = port;
    this.code = code;
  }
}

/**
 * Makes the internal services and serves each over gRPC (HTTP/2 without TLS) on a port of its own.
 *
 * Throws a RangeError for an option out of its range, and a ListenError if a port cannot be had; nothing listens
 * then.
 *
 * @example
 * const mocks = await startMocks({ users: 100 });
 * const transport = createGrpcTransport({ baseUrl: mocks.users.url });
 * await mocks.users.stop(); // what does the gateway say now?
 * await mocks.close();
 */
export async function startMocks(options: StartOptions = {}): Promise<RunningMocks> {
  const { host, ports } = readAddresses(options);
  const mocks = createMocks(options);
  const started: Serving[] = [];

  async function start<S extends DescService>(
    name: keyof Mocks,
    mock: MockService<S>,
  ): Promise<MockService<S> & Serving> {
    const service = await serve(name, mock, host, ports[name]);
    started.push(service);
    return Object.assign(mock, service);
  }

  const close = async () => void (await Promise.all(started.map((service) => service.stop())));
  try {
    const users = await start("users", mocks.users);
    const orders = await start("orders", mocks.orders);
    const inventory = await start("inventory", mocks.inventory);
    return { users, orders, inventory, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function serve<S extends DescService>(
  name: keyof Mocks,
  mock: MockService<S>,
  host: string,
  wanted: number,
): Promise<Serving> {
  const open = (port: number) =>
    listen(mock.routes, host, port).catch((cause: unknown) => {
      throw new ListenError(name, host, port, cause);
    });
  let listener: Listener | undefined = await open(wanted);
  const { port } = listener;
  // One after the other: a stop that comes while a restart is under way must not leave a server behind.
  let turn: Promise<void> = Promise.resolve();
  const inTurn = (step: () => Promise<void>) => (turn = turn.catch(() => undefined).then(step));

  async function down() {
    await listener?.close();
    listener = undefined;
  }

  return {
    url: `http://${authority(host)}:${port}`,
    stop: () => inTurn(down),
    restart: () =>
      inTurn(async () => {
        await down();
        listener = await open(port);
      }),
  };
}

// Who listens on every address is reached on the local one.
function authority(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

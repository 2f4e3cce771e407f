import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { type ConnectRouter, createRouterTransport } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { onTestFinished } from "vitest";
import type { CallDefaults } from "../options.ts";
import { Portico } from "../portico.ts";

/** Implements the services that a test calls. */
export type Routes = (router: ConnectRouter) => void;

/** A client of services in this process, without a socket. */
export function inMemory(routes: Routes, defaults: CallDefaults = {}): Portico {
  return new Portico({ transport: createRouterTransport(routes), ...defaults });
}

/** A server on a port of its own that stops when the test ends. */
interface Served {
  readonly baseUrl: string;
  /** The requests so far. */
  readonly requests: readonly IncomingMessage[];
}

/** Serves services over HTTP/1.1. */
export function serve(routes: Routes): Promise<Served> {
  return serveHttp(connectNodeAdapter({ routes, acceptCompression: [] }));
}

/** Serves anything over HTTP/1.1. */
export async function serveHttp(listener: RequestListener): Promise<Served> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    listener(request, response);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return { baseUrl: `http://127.0.0.1:${address.port}`, requests };
}

/** What a call threw; the test fails if it did not. */
export async function thrownBy(call: Promise<unknown> | (() => unknown)): Promise<unknown> {
  try {
    await (typeof call === "function" ? call() : call);
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
}

/** Iterates to the end. */
export async function drain<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of iterable) values.push(value);
  return values;
}

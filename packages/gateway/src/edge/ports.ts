import type { FastifyInstance } from "fastify";
import { StartError } from "../errors.ts";

/**
 * Connections that wait to be accepted. Node's own 511 are soon reached when many clients come at once, after a deployment
 * for example, and who finds no place tries again after a second, and then after three.
 */
const backlog = 4_096;

/**
 * Listens on a port; 0 takes any that is free. Rejects with a {@link StartError} if it cannot be had.
 *
 * @param variable the one that sets the port, for the message
 */
export async function openPort(
  app: FastifyInstance,
  variable: string,
  host: string,
  port: number,
): Promise<void> {
  try {
    await app.listen({ host, port, backlog });
  } catch (error) {
    const taken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
    const why = taken
      ? `is taken: end what listens there, or set ${variable} to another`
      : `cannot be had: ${error}`;
    throw new StartError([`port ${port} ${why}`]);
  }
}

/** Where an app listens, once it does. */
export function urlOf(
  app: FastifyInstance,
  { host, tls }: { readonly host: string; readonly tls: object | undefined },
): string {
  const address = app.server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const name = host.includes(":") ? `[${host}]` : host;
  return `${tls === undefined ? "http" : "https"}://${name}:${port}`;
}

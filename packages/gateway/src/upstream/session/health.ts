import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus } from "../../gen/grpc/health/v1/health_pb.ts";
import { createSessionTransport, type SessionManager } from "./transport.ts";

const maxAnswerBytes = 4_096;

/** Milliseconds between a watch that ended and the next. */
const backoffMs = { first: 100, most: 30_000 };

/**
 * Watches whether the server at the other end of one connection serves (grpc.health.v1), until the signal ends. Of a watch
 * that breaks off it is not known, so that nothing goes there until the next one says that it serves. A server that does
 * not have the method counts as serving, and is asked no more (gRFC A17).
 *
 * @param manager makes the streams, all on that connection
 * @param service what is asked about; "" is the server as a whole
 * @param told of each answer
 */
export async function watchHealth(
  manager: SessionManager,
  service: string,
  signal: AbortSignal,
  told: (serving: boolean) => void,
): Promise<void> {
  const client = createClient(Health, createSessionTransport(manager, maxAnswerBytes));
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      for await (const { status } of client.watch({ service }, { signal })) {
        failures = 0;
        told(status === HealthCheckResponse_ServingStatus.SERVING);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ConnectError && error.code === Code.Unimplemented) return told(true);
    }
    told(false);
    await pause(failures, signal);
  }
}

async function pause(failures: number, signal: AbortSignal): Promise<void> {
  const ms = Math.min(backoffMs.most, backoffMs.first * 2 ** failures) * (0.5 + Math.random() / 2);
  await sleep(ms, undefined, { signal, ref: false }).catch(() => {});
}

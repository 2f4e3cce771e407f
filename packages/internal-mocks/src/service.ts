import type { DescService } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createRouterTransport,
  type Interceptor,
  type ServiceImpl,
  type StreamRequest,
  type Transport,
} from "@connectrpc/connect";
import { type CallLog, type CallRecorder, createCallLog } from "./calls.ts";
import { createFaults, type Fault, type Faults } from "./faults.ts";

/** One internal service in memory. */
export interface MockService<S extends DescService> {
  /** Adds the service to any Connect router; recorder and faults come along. */
  routes(router: ConnectRouter): void;
  /** Calls the service without a socket. Messages are still encoded and decoded. */
  transport: Transport;
  /** What the service was asked, by whatever way. */
  calls: CallRecorder<S>;
  /**
   * Makes something go wrong from now on.
   *
   * @example
   * users.fault({ method: "batchGetUsers", code: Code.Unavailable, times: 1 });
   */
  fault(fault: Fault<S>): void;
  /** Ends all faults. Calls that hang already go on hanging. */
  clearFaults(): void;
}

/** Makes a mock of an implementation that remembers the last `recordedCalls` calls. */
export function createMockService<S extends DescService>(
  service: S,
  implementation: ServiceImpl<S>,
  recordedCalls: number,
): MockService<S> {
  const log = createCallLog<S>(recordedCalls);
  const faults = createFaults(service);
  // Options of a service replace those of the router, so whoever mounts the routes gets recorder and faults.
  const options = { interceptors: [monitor(log, faults)], readMaxBytes: 4 * 1024 * 1024 };
  const routes = (router: ConnectRouter) => void router.service(service, implementation, options);
  return {
    routes,
    transport: createRouterTransport(routes),
    calls: log.recorder,
    fault: faults.add,
    clearFaults: faults.clear,
  };
}

// Notes the call, lets the faults befall it, runs it, and notes how it ended. An abort ends it at once: a caller that
// left may never pull the rest of a stream, so the end of the stream alone would not tell.
function monitor<S extends DescService>(log: CallLog<S>, faults: Faults<S>): Interceptor {
  return (next) => async (call) => {
    const { request, replay } = call.stream ? await peek(call) : { request: call.message, replay: call };
    const end = log.start({ method: call.method.localName, request, headers: call.header });
    if (call.signal.aborted) end("canceled");
    call.signal.addEventListener("abort", () => end("canceled"));
    try {
      await faults.apply(call.method.localName, call.signal);
      const response = await next(replay);
      if (response.stream) return { ...response, message: watchEnd(response.message, end) };
      end("ok");
      return response;
    } catch (error) {
      end("error");
      throw error;
    }
  };
}

// Reads the first message of a stream, and makes a request that still has it.
async function peek(call: StreamRequest): Promise<{ request: unknown; replay: StreamRequest }> {
  const messages = call.message[Symbol.asyncIterator]();
  const first = await messages.next();
  async function* all() {
    if (first.done !== true) yield first.value;
    yield* { [Symbol.asyncIterator]: () => messages };
  }
  return { request: first.value, replay: { ...call, message: all() } };
}

async function* watchEnd<T>(messages: AsyncIterable<T>, end: (outcome: "ok" | "error" | "canceled") => void) {
  try {
    yield* messages;
    end("ok");
  } catch (error) {
    end("error");
    throw error;
  } finally {
    end("canceled");
  }
}

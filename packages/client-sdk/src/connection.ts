import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

/** Where to connect and how. */
export interface ConnectionOptions {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch | undefined;
  readonly interceptors: readonly Interceptor[] | undefined;
}

/**
 * The way to the server: the Connect protocol over `fetch`. A network that fails, be it while calling or in the
 * middle of an answer, is `unavailable`; so is an answer that ends too early.
 */
export function createConnection({ baseUrl, fetch, interceptors = [] }: ConnectionOptions): Transport {
  return createConnectTransport({
    baseUrl,
    fetch: fetchFrom(baseUrl, fetch),
    // Innermost, so that the interceptors of the client see what the network's errors mean.
    interceptors: [...interceptors, explainAnswers(baseUrl)],
    // Binary, because it loses nothing: an older SDK keeps enum values that it has no name for, where their JSON
    // names would be dropped. It is also smaller, and faster to read.
    useBinaryFormat: true,
    useHttpGet: false,
  });
}

function fetchFrom(baseUrl: string, given: typeof globalThis.fetch | undefined): typeof globalThis.fetch {
  return async (input, init) => {
    // The global is looked up for each call, so that replacing it later works; browsers insist on a bare call.
    const fetch = given ?? globalThis.fetch;
    try {
      return await fetch(input, init);
    } catch (cause) {
      if (init?.signal?.aborted) throw cause;
      throw noConnection(`No connection to ${baseUrl}`, cause);
    }
  };
}

function explainAnswers(baseUrl: string): Interceptor {
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: explainMessages(response.message, request.signal, baseUrl) };
    } catch (error) {
      throw explain(error, request.signal, baseUrl);
    }
  };
}

async function* explainMessages<T>(messages: AsyncIterable<T>, signal: AbortSignal, baseUrl: string) {
  try {
    yield* messages;
  } catch (error) {
    throw explain(error, signal, baseUrl);
  }
}

function explain(error: unknown, signal: AbortSignal, baseUrl: string): unknown {
  if (signal.aborted) return error;
  if (error instanceof ConnectError) {
    if (isStranger(error)) {
      const message = `${baseUrl} does not answer as the API does (${error.rawMessage}): check baseUrl`;
      return new ConnectError(message, error.code, error.metadata, undefined, error);
    }
    // Connect blames the caller for an answer that breaks off, since its servers read requests the same way.
    return error.rawMessage === "protocol error: incomplete envelope" ? brokenOff(baseUrl, error) : error;
  }
  // `fetch` reports a connection that broke while reading as a TypeError, and Connect throws bare words where the
  // end of a stream is missing.
  return error instanceof TypeError || typeof error === "string" ? brokenOff(baseUrl, error) : error;
}

/** Something else than the API answered, most likely because of a wrong address. */
function isStranger({ rawMessage }: ConnectError): boolean {
  return rawMessage === "HTTP 404" || rawMessage.startsWith("unsupported content type");
}

function brokenOff(baseUrl: string, cause: unknown): ConnectError {
  return noConnection(`The connection to ${baseUrl} broke off`, cause);
}

function noConnection(message: string, cause: unknown): ConnectError {
  return new ConnectError(`${message}: ${reasonOf(cause)}`, Code.Unavailable, undefined, undefined, cause);
}

/** Node says only "fetch failed" and has the reason below, as a code or in words. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (!(cause instanceof Error)) return error instanceof ConnectError ? error.rawMessage : error.message;
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message || error.message;
}

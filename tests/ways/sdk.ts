import {
  type DescMethod,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import { type CallOptions, Portico, PorticoError } from "@portico/client-sdk";
import { type Refusal, Refused, type StreamWay, type Target, type Way } from "./way.ts";

/** The SDK in Node, with Node's own `fetch`. */
export const sdkWay: Way = {
  name: "SDK",
  cannot: ({ method }) => method.parent.method[method.localName] === undefined,
  call: async (target, { method, request, headers }) => {
    try {
      const message = await member<Promise<Message>>(target, method, request, { headers });
      return { code: "ok", message: toJson(method.output, message) };
    } catch (error) {
      return refusal(error);
    }
  },
};

export const sdkStreamWay: StreamWay = {
  name: "SDK",
  watch: async function* (target, { method, request, headers, signal, timeoutMs }) {
    try {
      const options = { headers, signal, timeoutMs };
      const messages = member<AsyncIterable<Message>>(target, method, request, options);
      for await (const message of messages) yield toJson(method.output, message) satisfies JsonValue;
    } catch (error) {
      throw new Refused(refusal(error));
    }
  },
};

/** Calls a method of the SDK whose name is not known to the compiler. */
function member<R>({ url }: Target, method: DescMethod, request: JsonObject, options: CallOptions): R {
  const api = new Portico({ baseUrl: url });
  const service = Object.values(api).find((client) => method.localName in client);
  const call: unknown = Reflect.get(service ?? {}, method.localName);
  if (typeof call !== "function") throw new Error(`the SDK has no ${method.localName}`);
  return call(fromJson(method.input, request), options);
}

function refusal(error: unknown): Refusal {
  if (!(error instanceof PorticoError)) throw error;
  // The SDK adds the id to its words, for people who report an error by copying it.
  const message = error.message.replace(` (request id: ${error.requestId})`, "");
  return { code: error.code, message, requestId: error.requestId };
}

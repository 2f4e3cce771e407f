import { create, type DescMessage, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import type { Call } from "../../packages/gateway/src/call.ts";
import { beforeAbort } from "../../packages/gateway/src/deadline.ts";
import type { Invoke } from "../../packages/gateway/src/invoke.ts";
import {
  entryOf,
  type MethodEntry,
  type MethodTable,
} from "../../packages/gateway/src/policy/method-table.ts";

type Answer = MessageInitShape<DescMessage>;

/** Runs handlers, up to the deadline, and leaves their errors as they are. */
export function createPlainInvoke(methods: MethodTable): Invoke {
  return {
    unary: async (method, request, call) => {
      const answer = handle<Promise<Answer>>(entryOf(methods, method), request, call);
      return create(method.output, await beforeAbort(call.signal, answer));
    },
    stream: async function* (method, request, call) {
      const entry = entryOf(methods, method);
      const answers =
        method.methodKind === "client_streaming"
          ? once(handle<Promise<Answer>>(entry, request, call))
          : handle<AsyncIterable<Answer>>(entry, request, call);
      const iterator = answers[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await beforeAbort(call.signal, iterator.next());
          if (next.done === true) return;
          yield create(method.output, next.value);
        }
      } finally {
        iterator.return?.()?.catch(() => {});
      }
    },
  };
}

async function* once<T>(value: Promise<T>): AsyncGenerator<T> {
  yield await value;
}

function handle<R>({ handler }: MethodEntry, request: Message | AsyncIterable<Message>, call: Call): R {
  return (handler as unknown as (request: Message | AsyncIterable<Message>, call: Call) => R)(request, call);
}

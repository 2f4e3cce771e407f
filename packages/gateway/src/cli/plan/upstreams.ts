import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { UpstreamClients } from "../../upstream/clients.ts";
import type { UpstreamDeclaration } from "../../upstream/upstream.ts";
import { type AnswerMaking, createMakeAnswer } from "./answers.ts";
import type { Mint } from "./mint.ts";
import { addCall, type Step } from "./steps.ts";

/** What is waiting for an upstream: the answer to a call, or one more message of a stream. */
export interface Waiting {
  readonly kind: "answer" | "message";
  readonly step: Step;
  readonly go: () => void;
}

/** Upstreams that answer when they are told to, with what is made up. */
export interface SimulatedUpstreams {
  readonly clients: UpstreamClients;
  readonly steps: readonly Step[];
  /** Takes out all that is waiting. */
  readonly takeWaiting: () => Waiting[];
  /** Whatever is asked from now on is asked in the next round: its number. */
  readonly nextRound: () => number;
}

/** How upstreams are simulated. */
export interface SimulationOptions extends AnswerMaking {
  readonly mint: Mint<Step>;
  /** How many messages a stream has: `atOnce`, as soon as it is asked for; or so many, each when it is told to. */
  readonly messages: { readonly atOnce: number } | number;
}

/** What the handler does has no end, or cannot be seen from here, whatever its request. */
export class Unplannable extends Error {
  override readonly name = "Unplannable";
}

/** Who asks for more at once forgot a limit. */
const maxCalls = 50_000;

/** Creates upstreams that know every method of every service. */
export function simulateUpstreams(options: SimulationOptions): SimulatedUpstreams {
  const { mint, messages } = options;
  const makeAnswer = createMakeAnswer(mint, options);
  const steps: Step[] = [];
  let waiting: Waiting[] = [];
  let [round, calls] = [1, 0];
  const wait = (kind: Waiting["kind"], step: Step) =>
    new Promise<void>((resolve) => {
      waiting.push({ kind, step, go: resolve });
    });
  const note = (upstream: UpstreamDeclaration, method: AnyMethod, request: ReflectMessage): Step => {
    if (++calls > maxCalls) throw new Unplannable(`it makes more than ${maxCalls} calls`);
    return addCall(steps, { upstream, method, round, sources: mint.makersOf(request) });
  };
  const answer = (request: ReflectMessage, step: Step) => {
    mint.madeBy(step);
    return makeAnswer(step.method, request);
  };
  const clients: UpstreamClients = {
    unary: async (upstream, method, init, call) => {
      call.signal.throwIfAborted();
      const request = asked(method, init);
      const step = note(upstream, method, request);
      await wait("answer", step);
      return answer(request, step) as MessageShape<typeof method.output>;
    },
    stream: async function* (upstream, method, init, call) {
      call.signal.throwIfAborted();
      const request = asked(method, init);
      const step = note(upstream, method, request);
      await wait("answer", step);
      const count = typeof messages === "number" ? messages : messages.atOnce;
      for (let index = 0; index < count; index++) {
        if (index > 0 && typeof messages === "number") await wait("message", step);
        yield answer(request, step) as MessageShape<typeof method.output>;
      }
    },
    states: () => ({}),
    probe: async () => {},
    facts: () => ({}),
    unimplemented: () => [],
    close: () => {},
  };
  return {
    clients,
    steps,
    takeWaiting: () => {
      const taken = waiting;
      waiting = [];
      return taken;
    },
    nextRound: () => ++round,
  };
}

type AnyMethod = DescMethodUnary | DescMethodServerStreaming;

/** The request as it would travel. */
function asked<I extends DescMessage>(
  { input }: { readonly input: I },
  init: MessageInitShape<I>,
): ReflectMessage {
  return reflect(input, create(input, init), false);
}

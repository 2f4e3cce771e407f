import { setTimeout as delay, setImmediate } from "node:timers/promises";
import type { DescField, DescMethod } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { createLoaderScope } from "../../consolidation/loaders/scope.ts";
import { createMissingParts } from "../../consolidation/partial/partial.ts";
import { createCallRecord } from "../../observe/call-record.ts";
import { type Principal, principalId } from "../../policy/principal.ts";
import type { AnyHandler } from "../../service.ts";
import type { UpstreamClients } from "../../upstream/clients.ts";
import type { KeyMatch } from "./keys.ts";
import type { LoaderKeys } from "./loaders.ts";
import { createMint } from "./mint.ts";
import { makeRequest, type RequestShape } from "./requests.ts";
import type { Step } from "./steps.ts";
import { type SimulatedUpstreams, simulateUpstreams, Unplannable, type Waiting } from "./upstreams.ts";

/** A public method that is planned. */
export interface PlannedMethod {
  readonly method: DescMethod;
  readonly handler: AnyHandler;
}

/** How a handler is run. */
export interface RunOptions {
  readonly shape: RequestShape;
  readonly match: KeyMatch;
  readonly loaderKeys: LoaderKeys;
  /** The most items in a list that nothing else limits. */
  readonly rows: number;
  /** The most items in any list: fewer make a run faster that is not about their number. Default: no limit. */
  readonly most?: number;
  /** How many messages the upstreams of a stream send. Default: 1. */
  readonly messages?: number;
  /** Fields that the answer will not have. Default: none. */
  readonly omitted?: ReadonlySet<DescField>;
  /** A step that gets no answer: the run ends where nothing goes on without. */
  readonly held?: string;
}

/** What became of a run. */
export interface Run {
  /** The steps of the calls that were made, in the sequence in which they began. */
  readonly steps: readonly Step[];
  /** Why the handler did not end, or not well: its own error, or an {@link Unplannable}. */
  readonly error?: unknown;
}

/**
 * Runs a handler against simulated upstreams. Whatever it asks until it can only wait is answered at the same time: that
 * is one round, so that calls of one round were made side by side, and none could have waited for another.
 */
export async function runHandler({ method, handler }: PlannedMethod, options: RunOptions): Promise<Run> {
  const { shape, match, loaderKeys, most = Number.POSITIVE_INFINITY, messages = 1 } = options;
  const rows = Math.min(options.rows, most);
  const mint = createMint<Step>();
  const upstreams = simulateUpstreams({
    mint,
    match,
    loaderKeys,
    rows,
    most,
    messages: method.methodKind === "unary" ? { atOnce: rows } : messages,
  });
  const over = new AbortController();
  const request = makeRequest(method.input, shape, mint, rows);
  const call = callOf(method, upstreams.clients, options.omitted ?? new Set(), over.signal);
  const end = settle(handle({ method, handler }, request, call));
  try {
    await answerAll(upstreams, options.held, end);
    return { steps: upstreams.steps, ...("error" in end && { error: end.error }) };
  } catch (error) {
    return { steps: upstreams.steps, error };
  } finally {
    over.abort();
  }
}

/** How a run ended; filled in when it has. */
interface End {
  done?: true;
  error?: unknown;
}

function settle(work: Promise<void>): End {
  const end: End = {};
  work.then(
    () => {
      end.done = true;
    },
    (error: unknown) => {
      Object.assign(end, { done: true, error });
    },
  );
  return end;
}

/** The answer itself is of no interest: only what was done for it. */
async function handle({ method, handler }: PlannedMethod, request: unknown, call: Call): Promise<void> {
  const answer = (handler as (request: unknown, call: Call) => unknown)(request, call);
  if (method.methodKind === "unary") await answer;
  else for await (const _ of answer as AsyncIterable<unknown>);
}

/** Handlers may collect for a moment what they ask for. */
const momentMs = 50;

/** A loop that has no end must not run forever. */
const maxRounds = 2_000;

/** What takes longer waits for something else. */
const maxMoments = 60;

async function answerAll(upstreams: SimulatedUpstreams, held: string | undefined, end: End): Promise<void> {
  const messages: Waiting[] = [];
  let isHeld = false;
  for (let moments = 0; ; ) {
    await idle();
    if (end.done) return;
    const waiting = upstreams.takeWaiting();
    const answers = waiting.filter(({ kind, step }) => kind === "answer" && step.id !== held);
    messages.push(...waiting.filter(({ kind }) => kind === "message"));
    isHeld ||= waiting.some(({ step }) => step.id === held);
    if (answers.length > 0) {
      if (upstreams.nextRound() > maxRounds)
        throw new Unplannable(`it makes more than ${maxRounds} calls, one after the other`);
      for (const { go } of answers) go();
      moments = 0;
    } else if (moments === 0) {
      await delay(momentMs);
      moments++;
    } else if (messages.length > 0) {
      // The next message comes when nothing is left to do for the last one: none is joined with another.
      upstreams.nextRound();
      for (const { go } of messages.splice(0)) go();
      moments = 0;
    } else if (isHeld) return;
    else if (moments++ < maxMoments) await delay(momentMs);
    else throw new Unplannable("it waits for something that is no call to an upstream");
  }
}

/** Lets everything run that can without waiting. */
async function idle(): Promise<void> {
  await setImmediate();
  await delay(1);
  await setImmediate();
}

const principal: Principal = {
  kind: "token",
  id: principalId("token", "plan", "plan"),
  subject: "plan",
  issuer: "plan",
  tenant: "plan",
  roles: [],
};

/** A call of someone who may do everything, without a deadline. */
function callOf(
  method: DescMethod,
  upstreams: UpstreamClients,
  omitted: ReadonlySet<DescField>,
  signal: AbortSignal,
): Call {
  return {
    method,
    requestId: "plan",
    principal,
    rights: { has: () => true, key: "plan", audience: "internal" },
    hidden: omitted,
    omitted,
    recheck: async () => {},
    signal,
    remainingMs: () => 60_000,
    upstreams,
    loaders: createLoaderScope(method.methodKind === "unary" ? "call" : "batch"),
    missing: createMissingParts(method.output),
    record: createCallRecord({ requestId: "plan", httpMethod: "POST", path: "/", address: "" }),
  };
}

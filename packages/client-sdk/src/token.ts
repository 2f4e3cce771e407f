import { Code, ConnectError } from "@connectrpc/connect";
import { AuthenticationError } from "./errors.ts";
import { isToken, type Token } from "./options.ts";

/** What a call allows its token: to be canceled, and a time. */
export interface Limits {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
}

/**
 * Gets the token for one call. Calls that ask while the caller's function is at work share its answer; the next
 * one asks again, since only the function knows when a token expires.
 *
 * @throws AuthenticationError if the function throws or gives something that is no token.
 */
export function createTokenSource(token: Token): (limits: Limits) => Promise<string> {
  if (typeof token === "string") return async () => token;
  let pending: Promise<string> | undefined;
  return (limits) => {
    pending ??= ask(token).finally(() => {
      pending = undefined;
    });
    return within(pending, limits);
  };
}

async function ask(token: () => string | Promise<string>): Promise<string> {
  let answer: unknown;
  try {
    answer = await token();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AuthenticationError(`Getting a token failed: ${why}`, { cause });
  }
  if (typeof answer === "string" && isToken(answer)) return answer;
  const given = typeof answer === "string" ? `a string of ${answer.length} characters` : typeof answer;
  throw new AuthenticationError(`The token function must give a token without spaces; it gave ${given}`);
}

/** One call may give up waiting; the others still get the answer. */
async function within<T>(work: Promise<T>, { signal, timeoutMs }: Limits): Promise<T> {
  let stop = () => {};
  const limit = new Promise<never>((_, reject) => {
    const cancel = () => reject(ConnectError.from(signal?.reason, Code.Canceled));
    const expire = () => reject(new ConnectError("the operation timed out", Code.DeadlineExceeded));
    const timer = timeoutMs === undefined ? undefined : setTimeout(expire, timeoutMs);
    signal?.addEventListener("abort", cancel);
    if (signal?.aborted) cancel();
    stop = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    };
  });
  return Promise.race([work, limit]).finally(() => stop());
}

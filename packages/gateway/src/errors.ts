import { Code, ConnectError } from "@connectrpc/connect";

/** What a {@link PublicError} may carry besides its words. */
export interface PublicErrorOptions {
  /** The full story, for the log alone. */
  cause?: unknown;
  /** Response headers, such as `retry-after`. */
  headers?: Record<string, string>;
}

/**
 * An error whose words the gateway itself chose, so that the caller may read them.
 *
 * This is the only kind of error that leaves the gateway as it is. Anything else that a handler throws,
 * another `ConnectError` included, reaches the caller as a bare `internal`, because its words may come from an
 * upstream, a database or a stack trace.
 *
 * @example throw new PublicError(Code.InvalidArgument, "page_size: must not be negative, got -1");
 */
export class PublicError extends ConnectError {
  readonly #chosenByGateway = true;

  constructor(code: Code, message: string, options: PublicErrorOptions = {}) {
    super(publicText(message), code, options.headers, undefined, options.cause);
  }

  /** Only what this constructor made counts: `ConnectError` itself accepts anything of the same shape. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && #chosenByGateway in value && value.#chosenByGateway;
  }
}

/** The words for whatever is nobody's business outside. */
export const internalWords = "The request failed inside the API.";

/** The error for what the caller can neither know nor mend; the cause is for the log. */
export function internalError(cause: unknown): PublicError {
  return new PublicError(Code.Internal, internalWords, { cause });
}

/**
 * A text that every protocol can carry: gRPC has it in a header, which must be valid Unicode and not grow without bound
 * with what a caller sent.
 */
export function publicText(text: string): string {
  return text.slice(0, 1_024).toWellFormed();
}

/**
 * The value, for what an upstream always sends. Without it the call fails with `internal`, rather than with a blank.
 *
 * @example
 * const { user } = await users.getUser({ id }, call);
 * return { user: await userView.one(present(user, "user"), call) };
 */
export function present<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`the upstream answered without ${name}`);
  return value;
}

/**
 * Gives the errors of a call the words that fit its place. Codes that are not named keep theirs, headers stay.
 *
 * @example await reword(users.getUser({ id }, call), { [Code.NotFound]: `There is no user with the id "${id}".` });
 */
export async function reword<T>(call: Promise<T>, words: Partial<Record<Code, string>>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const message = error instanceof PublicError ? words[error.code] : undefined;
    if (message === undefined || !(error instanceof PublicError)) throw error;
    throw new PublicError(error.code, message, { cause: error, headers: Object.fromEntries(error.metadata) });
  }
}

/**
 * Something that must be put right before the gateway can start. Its message lists every problem found, each
 * with what to do.
 */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `Portico cannot start:\n${problems.map((problem) => `  - ${problem.replaceAll("\n", "\n    ")}`).join("\n")}`,
    );
    this.problems = problems;
  }
}

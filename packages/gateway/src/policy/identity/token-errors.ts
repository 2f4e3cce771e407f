import { errors } from "jose";
import { PublicError } from "../../errors.ts";
import { unauthenticated } from "./unauthenticated.ts";

/** The cause names what is wrong, and never what is in the token: jose's own errors carry its claims along. */
export function tokenError(error: unknown): PublicError {
  if (error instanceof PublicError) return error;
  const why = error instanceof Error ? error.message : "the token cannot be verified";
  if (error instanceof errors.JWTExpired)
    return unauthenticated("CREDENTIALS_EXPIRED", "The token has expired.", why);
  return invalidToken(why);
}

/** The error for a token that is not valid; why is for the log. */
export function invalidToken(why: string): PublicError {
  return unauthenticated("CREDENTIALS_INVALID", "The token is not valid.", why);
}

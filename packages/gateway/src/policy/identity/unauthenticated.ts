import { PublicError } from "../../errors.ts";

/**
 * The error for missing or bad credentials, with the header that goes with HTTP's 401 (RFC 9110, 11.6.1; RFC 6750).
 *
 * @param message in place of the reason's own words
 * @param why for the log alone: never with the credentials themselves
 */
export function unauthenticated(
  reason: "CREDENTIALS_MISSING" | "CREDENTIALS_INVALID" | "CREDENTIALS_EXPIRED",
  message?: string,
  why?: string,
): PublicError {
  return new PublicError(reason, message, {
    headers: { "www-authenticate": "Bearer" },
    ...(why !== undefined && { cause: new Error(why) }),
  });
}

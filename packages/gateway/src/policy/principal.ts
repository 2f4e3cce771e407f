/** Who makes a call. */
export type Principal = Anonymous | Authenticated;

/** A caller without credentials. */
export interface Anonymous {
  readonly kind: "anonymous";
}

/** A caller whose credentials were verified. */
export interface Authenticated {
  readonly kind: "authenticated";
  /** Identifies the caller within its issuer: the token's `sub`. */
  readonly subject: string;
  /** The roles that the issuer gave the caller. */
  readonly roles: readonly string[];
}

/** The one anonymous principal. */
export const anonymous: Anonymous = { kind: "anonymous" };

import { hash } from "node:crypto";
import type { RateLimiterRedis } from "rate-limiter-flexible";
import type { Limit } from "../principal.ts";

/** One limit of one scope. */
export interface Bucket {
  readonly limit: Limit;
  /** What it is counted by: a caller who is given more or fewer calls keeps what was counted. */
  readonly name: string;
  /** Its name in the headers. */
  readonly label: string;
  /** Its part of `ratelimit-policy`. */
  readonly policy: string;
  /** What counts it in Redis, made when it is first needed. */
  limiter?: RateLimiterRedis;
}

/** What a call takes from a bucket. */
export interface Bill {
  readonly bucket: Bucket;
  readonly cost: number;
}

/** How the bucket of a caller stands after a call, which it paid for or refused. */
export interface Standing extends Bill {
  readonly refused: boolean;
  readonly remaining: number;
  readonly resetMs: number;
}

/** A key that tells nothing about the caller, and is no longer than others. */
export function digest(key: string): string {
  return hash("sha256", key, "base64url");
}

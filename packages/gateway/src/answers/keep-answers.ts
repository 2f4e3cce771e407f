import type { DescMessage, DescMethod } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { fingerprint } from "../fingerprint.ts";
import { createKeptBytes } from "../kept-bytes.ts";
import type { SharedStore } from "../redis.ts";
import { type AnswerCache, createAnswerCache } from "./answer-cache.ts";

/** Whose answers they are, and where they are kept. */
export interface KeepAnswersOptions {
  /** What all answers together may take in memory; 0 for no cache. */
  readonly maxBytes: number;
  readonly redis: SharedStore | undefined;
  /** What tells this API from others that use the same Redis. */
  readonly domain: string;
  readonly methods: Iterable<DescMethod>;
  readonly log: Pick<Logger, "warn">;
}

/** The answer cache of a gateway, which logs what it could not renew. Throws a `StartError` for too few `maxBytes`. */
export function keepAnswers(options: KeepAnswersOptions): AnswerCache | undefined {
  const { maxBytes, redis, domain, methods, log } = options;
  if (maxBytes === 0) return undefined;
  const files = Array.from(methods, ({ parent }) => parent.file);
  // Whoever reads the same bytes differently, or by another policy, is another API.
  const kept = createKeptBytes({ maxBytes, redis, namespace: `answers:${domain}:${fingerprint(files)}` });
  const onError = (error: unknown, { typeName }: DescMessage): void =>
    log.warn({ err: error, answer: typeName }, "a kept answer could not be renewed");
  return createAnswerCache({ kept, onError });
}

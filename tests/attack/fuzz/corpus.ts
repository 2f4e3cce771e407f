import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Input, type Kind, kinds } from "./inputs.ts";

// Inputs that are sent in every run: what has once broken something, here or elsewhere. A file each, by its kind:
// `json-3f2a….bin`. A run adds what it finds, to be committed with what mends it. TOKEN stands for the caller's token.

const folder = fileURLToPath(new URL("../corpus/", import.meta.url));

/** All that is kept. */
export function readCorpus(token: string): Input[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".bin"))
    .sort()
    .map((name) => ({ kind: kindOf(name), bytes: withToken(readFileSync(`${folder}${name}`), token) }));
}

/** Keeps an input. @returns the name of its file */
export function keep({ kind, bytes }: Input, token: string): string {
  const text = bytes.toString("latin1").replaceAll(token, "TOKEN");
  const name = `${kind}-${createHash("sha256").update(text).digest("hex").slice(0, 12)}.bin`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}${name}`, text, "latin1");
  return name;
}

function withToken(bytes: Buffer, token: string): Buffer {
  return Buffer.from(bytes.toString("latin1").replaceAll("TOKEN", token), "latin1");
}

function kindOf(name: string): Kind {
  const kind = kinds.find((kind) => name.startsWith(`${kind}-`));
  if (kind === undefined) throw new Error(`${name} in the corpus is of no kind: ${kinds.join(", ")}`);
  return kind;
}

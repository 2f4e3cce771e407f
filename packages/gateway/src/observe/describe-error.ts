import { stdSerializers } from "pino";

/**
 * An error with its causes, for the log: pino's serializer for `err`. Of what hangs on an error besides its words, such
 * as the claims of a token or the headers of an upstream, nothing is kept.
 *
 * The words of upstreams are in it, and they may repeat whom or what they failed for: emails and credentials are taken
 * out.
 *
 * @example const log = pino({ serializers: { err: describeError } });
 */
export function describeError(error: unknown): Readonly<Record<string, string>> {
  if (!(error instanceof Error)) return { message: withoutSecrets(String(error)) };
  const { type, message, stack } = stdSerializers.err(error);
  return { type, message: withoutSecrets(message), stack: withoutSecrets(stack) };
}

/**
 * What is taken out, and what stands there instead. Each begins where nothing of its kind goes before, so that a long text
 * takes no longer than its length.
 */
const secrets: readonly (readonly [RegExp, string])[] = [
  [/(?<![\w-])(bearer|basic) +[\w.~+/=-]{8,}/gi, "$1 (secret)"],
  // A JWT, signed or encrypted, whole or cut short.
  [/(?<![\w-])eyJ[\w-]{8,}(\.[\w-]*)*/g, "(token)"],
  // The id of a key is no secret.
  [/(?<![\w-])(ptk_[a-z0-9]{12})_[\w-]+/g, "$1_(secret)"],
  [/(?<![\p{L}\p{N}_.%+'-])[\p{L}\p{N}_.%+'-]+@(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}/giu, "(email)"],
];

function withoutSecrets(text: string): string {
  return secrets.reduce((rest, [form, stand]) => rest.replace(form, stand), text);
}

import type { DescEnum } from "@bufbuild/protobuf";
import { commentOf, commentOfType, commentText } from "./proto.ts";

/**
 * The declaration of a public enum with the values of an internal one, by the prefix that its own name asks for.
 *
 * @param text the proto file of the internal one, for its comments
 */
export function enumText(from: DescEnum, name: string, text: string): string {
  const prefix = `${name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toUpperCase()}_`;
  const cut = from.sharedPrefix?.length ?? 0;
  const isAliased = new Set(from.values.map(({ number }) => number)).size < from.values.length;
  const comment = commentOfType(text, from);
  return [
    commentText(comment.length > 0 ? comment : [inWords(name)]),
    `enum ${name} {\n`,
    ...(isAliased ? ["  option allow_alias = true;\n"] : []),
    ...from.values.flatMap((value) => {
      const lines = commentOf(text, from, value);
      const own = lines.length > 0 ? lines : [inWords(value.name.slice(cut))];
      return [
        commentText(own).replace(/^/gm, "  ").trimEnd(),
        `\n  ${prefix}${value.name.slice(cut)} = ${value.number};\n`,
      ];
    }),
    "}\n",
  ].join("");
}

/** A comment to begin with: `unit_price` is "Unit price." */
export function inWords(name: string): string {
  const words = name
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, " ")
    .replaceAll("_", " ")
    .toLowerCase()
    .trim();
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}.`;
}

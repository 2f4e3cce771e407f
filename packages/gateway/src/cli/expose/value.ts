import type { DescEnum, DescField, DescMessage } from "@bufbuild/protobuf";
import type { App } from "../../application.ts";
import type { EnumMap } from "../../consolidation/views/enum.ts";
import type { Convertible } from "../../consolidation/views/source.ts";
import { isCommon } from "../drift/surface.ts";
import { madeFields, withNested } from "../drift/views.ts";
import { ExposeError } from "./route.ts";
import { type PublicType, packageOf, scalarText, typeFor } from "./type.ts";

/** What becomes of the values of an internal field. */
export type PublicValue = { readonly type: PublicType } & (
  | { readonly kind: "copied" }
  | { readonly kind: "viewed"; readonly view: Convertible }
  /** By a map that there is. */
  | { readonly kind: "mapped"; readonly from: DescEnum; readonly to: DescEnum }
  /** By a map to be written; and the enum too, if it is not there. */
  | { readonly kind: "to map"; readonly from: DescEnum; readonly to: string; readonly exists: boolean }
);

/**
 * Finds the public counterpart of what a field holds.
 *
 * Throws an {@link ExposeError} if there is none that could be used, and none that could be written.
 *
 * @param message the public message that the field is to stand in
 */
export function publicValueOf(app: App, origin: DescField, message: DescMessage): PublicValue {
  if (origin.fieldKind === "scalar" && origin.getDefaultValue() !== undefined)
    throw new ExposeError(
      `${origin.parent.typeName}.${origin.name} has a default, which a copy would lose: declare the public field by hand, ` +
        `and give it computed(["${origin.localName}"], (value) => value) in the view`,
    );
  const inside = origin.message ?? origin.enum;
  if (inside !== undefined && isCommon(inside)) return { kind: "copied", type: typeFor(message, inside) };
  if (origin.message !== undefined) return messageValue(app, origin.message, message);
  if (origin.enum !== undefined) return enumValue(app, origin.enum, message);
  // What holds neither a message nor an enum holds a scalar.
  return { kind: "copied", type: { name: scalarText(origin.scalar), file: undefined } };
}

function messageValue(app: App, inner: DescMessage, message: DescMessage): PublicValue {
  const views = withNested(app.views).filter(({ from }) => from.typeName === inner.typeName);
  const near = views.filter(({ to }) => packageOf(to) === packageOf(message));
  const [view, ...others] = near.length > 0 ? near : views;
  if (view === undefined)
    throw new ExposeError(
      `No view makes a public message of ${inner.typeName}. Write the message into ${message.file.name}.proto, and its view: ` +
        `const ${lowerFirst(inner.name)}View = view(${inner.name}Schema of ${inner.file.name}, ${inner.name}Schema of ${message.file.name}, {})`,
    );
  if (others.length > 0)
    throw new ExposeError(
      `${inner.typeName} becomes ${[view, ...others].map(({ to }) => to.typeName).join(" or ")}: ` +
        "write the field, and nested(...) in the view, by hand",
    );
  return { kind: "viewed", view, type: typeFor(message, view.to) };
}

function enumValue(app: App, from: DescEnum, message: DescMessage): PublicValue {
  const maps = enumMapsOf(app).filter((map) => map.from.typeName === from.typeName);
  const map = maps.find(({ to }) => packageOf(to) === packageOf(message)) ?? maps[0];
  if (map !== undefined) return { kind: "mapped", from, to: map.to, type: typeFor(message, map.to) };
  const to = publicName(from);
  const taken = message.file.messages.some(({ name }) => name === to);
  if (taken)
    throw new ExposeError(
      `${packageOf(message)} has a message ${to}: write a public enum for ${from.typeName} by another name, and enumByName(...)`,
    );
  const known = message.file.enums.find(({ name }) => name === to);
  if (known === undefined && from.values[0]?.number !== 0 && !isClosedFile(message))
    throw new ExposeError(
      `${from.typeName} begins with another number than 0, which ${message.file.name}.proto does not allow: write the public enum by hand, and enumByName(...)`,
    );
  return { kind: "to map", from, to, exists: known !== undefined, type: { name: to, file: undefined } };
}

/** Whether enums of a file may begin with any number: there, they are closed. */
function isClosedFile({ file }: DescMessage): boolean {
  return file.proto.syntax === "" || file.proto.syntax === "proto2";
}

function enumMapsOf(app: App): readonly EnumMap[] {
  return withNested(app.views)
    .flatMap(madeFields)
    .flatMap(({ plan }) => [plan.enum, plan.into?.enum].filter((map) => map !== undefined));
}

/** The name of an enum in its package: `Parcel.State` becomes `ParcelState`. */
function publicName(from: DescEnum): string {
  return from.typeName.slice(packageOf(from) === "" ? 0 : packageOf(from).length + 1).replaceAll(".", "");
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

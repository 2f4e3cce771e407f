import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  fromJson,
  type Message,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import {
  anyPack,
  DurationSchema,
  FeatureSet_FieldPresence,
  FieldMaskSchema,
  ListValueSchema,
  StructSchema,
  TimestampSchema,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";

/** What makes the values of a message: lets a test mark each value with the field that it stands in. */
interface ArbitraryOptions {
  /** The values of a string or bytes field. Default: any text. */
  readonly text?: (field: DescField) => fc.Arbitrary<string>;
  /** How deep messages are nested. Default: 2. */
  readonly depth?: number;
  /** The fields that a message has but its type does not know. Default: none. */
  readonly unknown?: (desc: DescMessage) => Message["$unknown"];
}

/** Any message of a type: each field is set or not, with values over the whole range of its type. */
export function arbitraryMessage<D extends DescMessage>(
  desc: D,
  options: ArbitraryOptions = {},
): fc.Arbitrary<MessageShape<D>> {
  const known = wellKnown[desc.typeName];
  // The table is by the name of the type.
  if (known !== undefined) return known as fc.Arbitrary<MessageShape<D>>;
  const { text = () => fc.string(), depth = 2, unknown = () => undefined } = options;
  const inner = { text, depth: depth - 1, unknown };
  const fields = desc.fields.filter((field) => depth > 0 || field.message === undefined || isRequired(field));
  const setters = fields.map((field) => {
    const setter = arbitraryField(field, inner);
    if (isRequired(field)) return setter;
    return fc.option(setter, { nil: undefined, freq: 4 });
  });
  return fc.tuple(...setters).map((given) => {
    const message = create(desc);
    const reflected = reflect(desc, message);
    for (const set of given) set?.(reflected);
    const surplus = unknown(desc);
    return surplus === undefined ? message : Object.assign(message, { $unknown: surplus });
  });
}

function isRequired({ presence }: DescField): boolean {
  return presence === FeatureSet_FieldPresence.LEGACY_REQUIRED;
}

/** Messages whose fields depend on each other, or that not every value of their fields can be written as JSON. */
const wellKnown: Readonly<Record<string, fc.Arbitrary<Message>>> = {
  [TimestampSchema.typeName]: fc
    .tuple(fc.bigInt({ min: -62_135_596_800n, max: 253_402_300_799n }), fc.nat(999_999_999))
    .map(([seconds, nanos]) => create(TimestampSchema, { seconds, nanos })),
  [DurationSchema.typeName]: fc
    .tuple(fc.bigInt({ min: -315_576_000_000n, max: 315_576_000_000n }), fc.nat(999_999_999))
    .map(([seconds, nanos]) => create(DurationSchema, { seconds, nanos: seconds < 0 ? -nanos : nanos })),
  [StructSchema.typeName]: fc
    .dictionary(fc.string(), fc.jsonValue())
    .map((fields) => fromJson(StructSchema, JSON.parse(JSON.stringify(fields)))),
  [ValueSchema.typeName]: fc
    .jsonValue()
    .map((value) => fromJson(ValueSchema, JSON.parse(JSON.stringify(value)))),
  [ListValueSchema.typeName]: fc
    .array(fc.jsonValue(), { maxLength: 3 })
    .map((values) => fromJson(ListValueSchema, JSON.parse(JSON.stringify(values)))),
  [FieldMaskSchema.typeName]: fc
    .array(fc.constantFrom("id", "price.units", "purchase_time"), { maxLength: 3 })
    .map((paths) => create(FieldMaskSchema, { paths })),
  "google.protobuf.Any": fc.bigInt({ min: 0n, max: 9n }).map((seconds) => {
    return anyPack(DurationSchema, create(DurationSchema, { seconds }));
  }),
};

type Setter = (message: ReturnType<typeof reflect>) => void;

function arbitraryField(field: DescField, options: Required<ArbitraryOptions>): fc.Arbitrary<Setter> {
  switch (field.fieldKind) {
    case "list":
      return fc.array(arbitraryValue(field, options), { maxLength: 3 }).map((items) => (message) => {
        const list = message.get(field);
        for (const item of items) list.add(item);
      });
    case "map": {
      return fc
        .array(fc.tuple(arbitraryKey(field, options), arbitraryValue(field, options)), { maxLength: 3 })
        .map((entries) => (message) => {
          const map = message.get(field);
          for (const [key, value] of entries) map.set(key, value);
        });
    }
    default:
      return arbitraryValue(field, options).map((value) => (message) => message.set(field, value));
  }
}

function arbitraryKey(field: DescField & { fieldKind: "map" }, { text }: Required<ArbitraryOptions>) {
  switch (field.mapKey) {
    case ScalarType.STRING:
      return text(field);
    case ScalarType.BOOL:
      return fc.boolean();
    default:
      return fc.integer({ min: 0, max: 99 });
  }
}

/** A value as `reflect` takes it. */
function arbitraryValue(field: DescField, options: Required<ArbitraryOptions>): fc.Arbitrary<never> {
  // The type of a value depends on the field, which only `reflect` can check.
  const values: fc.Arbitrary<unknown> =
    field.message !== undefined
      ? arbitraryMessage<DescMessage>(field.message, options).map((message: Message) =>
          reflect(field.message as DescMessage, message),
        )
      : field.enum !== undefined
        ? arbitraryNumber(field.enum)
        : arbitraryScalar(field, options);
  return values as fc.Arbitrary<never>;
}

/** An open enum can hold numbers that it does not name; but for that of JSON's null, which is always written as null. */
function arbitraryNumber({ open, typeName, values }: DescEnum): fc.Arbitrary<number> {
  const named = fc.constantFrom(...values.map(({ number }) => number));
  return open && typeName !== "google.protobuf.NullValue"
    ? fc.oneof({ weight: 4, arbitrary: named }, fc.integer(int32))
    : named;
}

const int32 = { min: -(2 ** 31), max: 2 ** 31 - 1 };

function arbitraryScalar(field: DescField, { text }: Required<ArbitraryOptions>): fc.Arbitrary<unknown> {
  switch (field.scalar) {
    case ScalarType.STRING:
      return text(field);
    case ScalarType.BYTES:
      return text(field).map((value) => new TextEncoder().encode(value));
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.FLOAT:
      return fc.float();
    case ScalarType.DOUBLE:
      return fc.double();
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return fc.integer({ min: 0, max: 2 ** 32 - 1 });
    default:
      return fc.integer(int32);
  }
}

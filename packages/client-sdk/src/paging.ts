import {
  type DescField,
  type DescMessage,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import type { CallOptions } from "./call.ts";
import { PorticoError, ValidationError } from "./errors.ts";

/**
 * What is spread over pages. Iterating gets every item, asking for a page when the one before is used up; nothing
 * is asked for before that, and each iteration starts anew.
 *
 * @example for await (const user of api.users.listUsersAll({ pageSize: 100 })) greet(user);
 */
export interface Paged<Item, Page> extends AsyncIterable<Item> {
  /** Gets the pages as they are answered. */
  pages(): AsyncIterable<Page>;
  /**
   * Gets the items as an array: all of them, however many that may be, or the first `limit`. No page is asked for
   * that is not needed.
   *
   * @throws ValidationError if `limit` is not a whole number from 0.
   */
  toArray(options?: { limit?: number | undefined }): Promise<Item[]>;
}

/**
 * The paging members of a service: `<method>All` for every unary method whose request has `page_size` and
 * `page_token`, and whose response has `next_page_token` and one repeated message field.
 */
export type PagedMethods<Methods> = {
  readonly [Name in keyof Methods & string as AllName<Name, Methods>]: PagedMethod<Methods[Name]>;
};

/** Where the page tokens and the items of a method are. */
export interface Paging {
  readonly method: DescMethodUnary;
  readonly token: DescField;
  readonly next: DescField;
  readonly items: DescField;
}

/** Tells how a method is paged; undefined if it is not. The same rule as {@link PagedMethods}. */
export function pagingOf(method: DescMethodUnary): Paging | undefined {
  const token = stringField(method.input, "page_token");
  const next = stringField(method.output, "next_page_token");
  const hasSize = method.input.fields.some(({ name, oneof }) => name === "page_size" && oneof === undefined);
  const [items, ...others] = method.output.fields.filter(isMessageList);
  if (token === undefined || next === undefined || !hasSize || items === undefined || others.length > 0) {
    return undefined;
  }
  return { method, token, next, items };
}

/** Gets the pages of a method by calling it. A `pageToken` in the request is where to start. */
export function createPaged(
  paging: Paging,
  call: (request: MessageInitShape<DescMessage>, options?: CallOptions) => Promise<MessageShape<DescMessage>>,
  request: MessageInitShape<DescMessage> = {},
  options?: CallOptions,
): Paged<unknown, Message> {
  const pages = () => walk(paging, request, (page) => call(page, options));
  const items = () => itemsOf(paging, pages());
  return {
    pages: () => ({ [Symbol.asyncIterator]: pages }),
    [Symbol.asyncIterator]: items,
    toArray: ({ limit } = {}) => collect(items(), limit),
  };
}

type AllName<Name extends string, Methods> = [PagedMethod<Methods[Name & keyof Methods]>] extends [never]
  ? never
  : `${Name}All` extends keyof Methods
    ? never
    : `${Name}All`;

type PagedMethod<Method> =
  Method extends DescMethodUnary<infer I, infer O>
    ? [ItemOf<MessageShape<I>, MessageShape<O>>] extends [never]
      ? never
      : (
          request?: MessageInitShape<I>,
          options?: CallOptions,
        ) => Paged<ItemOf<MessageShape<I>, MessageShape<O>>, MessageShape<O>>
    : never;

/** The item of a paged method; never if it is not paged. */
type ItemOf<Request, Response> = Request extends { pageSize?: unknown; pageToken?: string | undefined }
  ? "pageSize" | "pageToken" extends keyof Request
    ? Response extends { nextPageToken: string }
      ? OnlyItem<Response>
      : never
    : never
  : never;

type OnlyItem<Response, Name extends keyof Response = ListNames<Response>> = [Name] extends [never]
  ? never
  : IsUnion<Name> extends true
    ? never
    : Response[Name] extends readonly (infer Item)[]
      ? Item
      : never;

/** The names of the repeated message fields. */
type ListNames<Response> = {
  [Name in keyof Response]-?: Response[Name] extends readonly Message[] ? Name : never;
}[keyof Response];

type IsUnion<T, Whole = T> = T extends Whole ? ([Whole] extends [T] ? false : true) : never;

function stringField(message: DescMessage, name: string): DescField | undefined {
  return message.fields.find(
    (field) =>
      field.name === name &&
      field.fieldKind === "scalar" &&
      field.scalar === ScalarType.STRING &&
      field.oneof === undefined,
  );
}

function isMessageList(field: DescField): boolean {
  return field.fieldKind === "list" && field.listKind === "message";
}

async function* walk(
  { method, token, next }: Paging,
  request: MessageInitShape<DescMessage>,
  call: (request: MessageInitShape<DescMessage>) => Promise<Message>,
): AsyncGenerator<Message, void, undefined> {
  let at = text(request, token);
  const seen = new Set<string>();
  do {
    seen.add(at);
    const page = await call(seen.size === 1 ? request : { ...request, [token.localName]: at });
    yield page;
    at = text(page, next);
    if (at !== "" && seen.has(at)) {
      const message = `${method.name} answered the same page token twice, after ${seen.size} pages: it would not end`;
      throw new PorticoError(message, "internal");
    }
  } while (at !== "");
}

async function* itemsOf({ items }: Paging, pages: AsyncIterable<Message>) {
  for await (const page of pages) {
    const list: unknown = Reflect.get(page, items.localName);
    if (Array.isArray(list)) yield* list;
  }
}

async function collect<T>(items: AsyncIterable<T>, limit = Number.POSITIVE_INFINITY): Promise<T[]> {
  if (limit !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(limit) && limit >= 0)) {
    throw new ValidationError(`limit must be a whole number from 0; got ${limit}`);
  }
  const all: T[] = [];
  if (limit === 0) return all;
  for await (const item of items) {
    if (all.push(item) >= limit) break;
  }
  return all;
}

function text(message: object, { localName }: DescField): string {
  const value: unknown = Reflect.get(message, localName);
  return typeof value === "string" ? value : "";
}

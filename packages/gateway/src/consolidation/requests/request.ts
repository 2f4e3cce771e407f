import {
  type DescField,
  type DescMessage,
  getOption,
  type Message,
  type MessageShape,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { invalid, StartError } from "../../errors.ts";
import { FieldBehavior, field_behavior } from "../../gen/google/api/field_behavior_pb.ts";
import { blankOf } from "../views/blank.ts";
import { type CompiledFields, compileFields } from "../views/compile.ts";
import type { Fields } from "../views/path.ts";
import { membersOf, shapeOf } from "../views/shape.ts";
import type { Convertible, FieldPlan, Source } from "../views/source.ts";
import type { Copied, Held } from "../views/view.ts";
import { createPaging, type PagedRequest, type PagingOptions } from "./paging.ts";

/** How an internal request is made from a public one. Made by {@link mapRequest}. */
export interface RequestMap<From extends Message = Message, To extends Message = Message>
  extends Convertible {
  (request: From): To;
}

/** The same for a request that is paged. Made by {@link mapPagedRequest}. */
export interface PagedRequestMap<From extends Message = Message, To extends Message = Message>
  extends Convertible {
  (request: From): Paged<To>;
}

/** A page to ask an upstream for. */
export interface Paged<To> {
  /** What the upstream is asked. */
  readonly request: To;
  /** Wraps the upstream's token for the next page into one for the public; empty stays empty. */
  readonly next: (upstreamToken: string) => string;
}

/**
 * The sources of an internal request. What the public one has under the same name and with another type needs one; what it
 * does not have may be left out, and is then not set.
 */
export type RequestFields<From extends Message, To extends Message> = {
  readonly [K in Exclude<keyof Fields<To> & keyof Fields<From>, Copied<From, To>>]-?: Source<
    From,
    Held<To[K]>
  >;
} & {
  readonly [K in Copied<From, To> | Exclude<keyof Fields<To>, keyof Fields<From>>]?: Source<
    From,
    Held<To[K]>
  >;
};

/** What is left out of a request on purpose. */
export interface RequestOptions<From> {
  /** The public fields that the upstream is not asked about: the handler deals with them. */
  readonly handled?: readonly (keyof Fields<From> & string)[];
}

/**
 * Declares how an internal request is made from a public one. Fields of the same name and type are copied by
 * themselves; other internal fields name their sources, as in a view, but for relations and other views, which take time.
 * A `read_mask` belongs to the gateway and goes nowhere; an internal one is set by a source of its own.
 *
 * A public field that nothing reads would be a filter that filters nothing: it is refused at the start, and so is an
 * internal field that must be set and is not. Throws a {@link StartError} that names each of them, and what to write.
 *
 * A number that an enum of the request does not know ends the call in `invalid_argument`, if its map says `fail`.
 *
 * @example
 * const createOrder = mapRequest(pub.CreateOrderRequestSchema, internal.CreateOrderRequestSchema, {
 *   lineItems: nested(lineItem, "lineItems"),
 * });
 * const { order } = await orders.createOrder(createOrder(request), call);
 */
export function mapRequest<From extends DescMessage, To extends DescMessage>(
  from: From,
  to: To,
  fields: RequestFields<MessageShape<From>, MessageShape<To>>,
  { handled = [] }: RequestOptions<MessageShape<From>> = {},
): RequestMap<MessageShape<From>, MessageShape<To>> {
  const compiled = compileRequest(from, to, fields);
  refuse([...compiled.problems, ...unread(from, to, compiled.plans, handled)]);
  return Object.assign(making(to, compiled), { from, to, fields: compiled.plans });
}

/**
 * Declares how an internal request for a page is made from a public one (AIP-158): as with {@link mapRequest}, while the
 * page's size and its token are seen to. A public token wraps the upstream's, with a checksum over the other fields of
 * the request: a token that was cut, made up, or taken to another listing is refused by name, and never reaches an
 * upstream. The checksum guards against mistakes, not against attacks: a token is no secret and grants nothing.
 *
 * Errors of the map: `invalid_argument` for a negative `page_size`, and for a `page_token` that is not from the same
 * listing.
 *
 * @example
 * const listOrders = mapPagedRequest(pub.ListOrdersRequestSchema, internal.ListOrdersRequestSchema, {
 *   status: mapped(internalStatus, "status"),
 * }, { defaultSize: 50, maxSize: 500 });
 *
 * const page = listOrders(request);
 * const { orders, nextPageToken } = await upstream.listOrders(page.request, call);
 * return { orders: await orderView.all(orders, call), nextPageToken: page.next(nextPageToken) };
 */
export function mapPagedRequest<From extends DescMessage, To extends DescMessage>(
  from: From,
  to: To,
  fields: RequestFields<MessageShape<From>, MessageShape<To>>,
  options: RequestOptions<MessageShape<From>> & PagingOptions<keyof Fields<MessageShape<To>> & string>,
): PagedRequestMap<MessageShape<From> & PagedRequest, MessageShape<To>> {
  const { handled = [], sizeField = "pageSize", tokenField = "pageToken" } = options;
  const compiled = compileRequest(from, to, fields, [sizeField, tokenField]);
  const paged: readonly string[] = ["pageSize", "pageToken"];
  refuse([
    ...compiled.problems,
    ...unread(from, to, compiled.plans, [...handled, ...paged]),
    ...pageProblems(from, "pageSize", "pageToken"),
    ...pageProblems(to, sizeField, tokenField),
  ]);
  const make = making(to, compiled);
  const pageOf = createPaging(from, options);
  const map = (request: MessageShape<From> & PagedRequest): Paged<MessageShape<To>> => {
    const { pageSize, pageToken, next } = pageOf(request);
    // The first page is asked for without a token.
    const token = pageToken === "" ? {} : { [tokenField]: pageToken };
    return { request: Object.assign(make(request), { [sizeField]: pageSize }, token), next };
  };
  const plans: Record<string, FieldPlan> = {
    ...compiled.plans,
    [sizeField]: { kind: "computed", reads: ["pageSize"] },
    [tokenField]: { kind: "computed", reads: ["pageToken"] },
  };
  return Object.assign(map, { from, to, fields: plans });
}

/** A size is a number of 32 bits, a token a text (AIP-158). */
function pageProblems(desc: DescMessage, size: string, token: string): string[] {
  const wanted: readonly (readonly [string, readonly string[]])[] = [
    [size, ["int32", "uint32"]],
    [token, ["string"]],
  ];
  return wanted.flatMap(([name, types]) => {
    const member = membersOf(desc).find(({ localName }) => localName === name);
    const shape = member && shapeOf(member);
    if (shape === undefined)
      return [`${desc.typeName} has no field ${name}, so that it cannot be paged (AIP-158)`];
    const fits = shape.count === "one" && types.some((type) => shape.text.split(" ", 1)[0] === type);
    return fits ? [] : [`${desc.typeName}.${name} must be ${types.join(" or ")}, to be paged (AIP-158)`];
  });
}

function compileRequest(
  from: DescMessage,
  to: DescMessage,
  fields: object,
  except: readonly string[] = [],
): CompiledFields {
  const compiled = compileFields(from, to, fields, {
    of: "request map",
    // The paths of a public mask mean nothing to an upstream, whose own mask has a source of its own.
    except: "readMask" in fields ? except : [...except, "readMask"],
    blame: (_, field, description) => invalid({ field, description }),
  });
  const waiting = compiled.steps.filter((step) => "fill" in step);
  return {
    ...compiled,
    problems: [
      ...compiled.problems,
      ...waiting.map(
        ({ target }) =>
          `${to.typeName}.${target.name}: a request is made at once, so that it has no relations, and nests request maps instead of views`,
      ),
    ],
  };
}

function making<To extends DescMessage>(
  to: To,
  { steps }: CompiledFields,
): (request: Message) => MessageShape<To> {
  const assigns = steps.flatMap((step) => ("assign" in step ? [step.assign] : []));
  const blank = blankOf(to);
  return (request) => {
    const made = blank();
    for (const assign of assigns) assign(request, made);
    return made;
  };
}

/** What would be lost, and what would be missing. */
function unread(
  from: DescMessage,
  to: DescMessage,
  plans: Readonly<Record<string, FieldPlan>>,
  handled: readonly string[],
): string[] {
  const read = new Set([...Object.values(plans).flatMap(readsOf), ...handled, "readMask"]);
  const lost = membersOf(from).filter(({ localName }) => !read.has(localName));
  const unset = to.fields.filter((field) => mustBeSet(field) && !Object.hasOwn(plans, memberName(field)));
  return [
    ...lost.map(
      ({ name, localName }) =>
        `${from.typeName}.${name} is read by nothing in its request map to ${to.typeName}: what callers write into it would ` +
        `have no effect. Take it into a field of ${to.name}, or write: handled: ["${localName}"]`,
    ),
    ...unset.map(
      ({ name, localName }) =>
        `${to.typeName}.${name} is required, but its request map does not set it. Write: ${localName}: ...`,
    ),
  ];
}

/** The members that a source reads: the first part of each path, or what the map of the request itself reads. */
function readsOf(plan: FieldPlan): string[] {
  const { kind, reads } = plan;
  // Only here, since other maps may not be there yet.
  if (kind === "nested" && reads.length === 0) return Object.values(plan.view?.fields ?? {}).flatMap(readsOf);
  return reads.map((path) => path.split(".", 1)[0] ?? path);
}

function memberName(field: DescField): string {
  return field.oneof?.localName ?? field.localName;
}

/** What the encoder refuses to leave out, and what the proto says must be there (AIP-203). */
function mustBeSet(field: DescField): boolean {
  return (
    field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED ||
    getOption(field, field_behavior).includes(FieldBehavior.REQUIRED)
  );
}

function refuse(problems: readonly string[]): void {
  if (problems.length > 0) throw new StartError(problems);
}

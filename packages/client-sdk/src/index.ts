// The client.

// Messages as JSON, which JSON.stringify cannot make of 64-bit numbers.
export { toJson, toJsonString } from "@bufbuild/protobuf";
// Times in messages.
export { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
export type { CallOptions } from "./call.ts";
export type { ServiceClient, StreamMethod, UnaryMethod } from "./client.ts";
// Errors.
export {
  AuthenticationError,
  ConnectionError,
  type ErrorCode,
  type ErrorFacts,
  NotFoundError,
  PermissionError,
  PorticoError,
  RateLimitError,
  TimeoutError,
  ValidationError,
} from "./errors.ts";
// The messages, enums and services of the API. Two of the same name do not compile here: leave one of them to its
// subpath, such as `@portico/client-sdk/users`, by naming the other one.
export * from "./inventory.ts";
export type { Address, CallDefaults, HeaderValues, OwnTransport, PorticoOptions, Token } from "./options.ts";
export * from "./orders.ts";
export type { Paged } from "./paging.ts";
// What an answer lacks.
export { type MissingPart, partial } from "./partial.ts";
export { Portico, type PorticoConstructor } from "./portico.ts";
export * from "./users.ts";

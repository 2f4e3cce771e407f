import type { DescService } from "@bufbuild/protobuf";
import { createCaller } from "./call.ts";
import { createServiceClient, type ServiceClient } from "./client.ts";
import { checkOptions, type PorticoOptions } from "./options.ts";
import { services } from "./services.ts";

/** A client of the API, with a member for each service. */
export type Portico = { readonly [Name in keyof Services]: ServiceClient<Services[Name]> };

/** Makes clients. */
export interface PorticoConstructor {
  /** @throws TypeError if an option is unknown, missing or of no use; the message names it. */
  new (options: PorticoOptions): Portico;
  readonly prototype: Portico;
}

/**
 * A client of the API, for browsers and Node.
 *
 * Making one is cheap and opens no connection; one for each server and identity is enough.
 *
 * @example
 * const api = new Portico({ baseUrl: "https://api.example.com", token: () => session.accessToken() });
 * const { user } = await api.users.getUser({ id: "42" });
 */
// The constructor fills in the members from the service map, which the compiler cannot follow.
export const Portico: PorticoConstructor = class Portico {
  constructor(options: PorticoOptions) {
    const caller = createCaller(checkOptions(options));
    for (const [name, service] of Object.entries<DescService>(services)) {
      Object.defineProperty(this, name, { value: createServiceClient(service, caller), enumerable: true });
    }
  }
} as PorticoConstructor;

type Services = typeof services;

/** How the mocks are made. All of it may be left out. */
export interface MockOptions {
  /** How many users there are from the start: 0 to 1,000,000. 1,000 by default. */
  users?: number | undefined;
  /** How many orders: 0 to 1,000,000. 5,000 by default. */
  orders?: number | undefined;
  /** How many items: 0 to 1,000,000. 3,000 by default. */
  items?: number | undefined;
  /** The same seed gives the same data. 1 by default. */
  seed?: number | undefined;
  /** How many calls each recorder keeps; 0 for none. 10,000 by default. */
  recordedCalls?: number | undefined;
}

/** How the mocks are served. */
export interface StartOptions extends MockOptions {
  /** The address to listen on. `127.0.0.1` by default. */
  host?: string | undefined;
  /** The ports to listen on; 0, the default, is any free one. */
  ports?:
    | { users?: number | undefined; orders?: number | undefined; inventory?: number | undefined }
    | undefined;
}

/** The most rows of one kind. */
export const mostRows = 1_000_000;

/** Fills in the defaults. Throws a RangeError that names the option if one is out of its range. */
export function readOptions(options: MockOptions) {
  return {
    users: wholeNumber("users", options.users ?? 1_000, mostRows),
    orders: wholeNumber("orders", options.orders ?? 5_000, mostRows),
    items: wholeNumber("items", options.items ?? 3_000, mostRows),
    seed: wholeNumber("seed", options.seed ?? 1, Number.MAX_SAFE_INTEGER),
    recordedCalls: wholeNumber("recordedCalls", options.recordedCalls ?? 10_000, Number.MAX_SAFE_INTEGER),
  };
}

/** Fills in the defaults of what is about serving. Throws a RangeError that names the option. */
export function readAddresses({ host = "127.0.0.1", ports = {} }: StartOptions) {
  const port = (name: "users" | "orders" | "inventory") =>
    wholeNumber(`ports.${name}`, ports[name] ?? 0, 65_535);
  return { host, ports: { users: port("users"), orders: port("orders"), inventory: port("inventory") } };
}

function wholeNumber(option: string, given: number, most: number): number {
  if (Number.isSafeInteger(given) && given >= 0 && given <= most) return given;
  throw new RangeError(
    `${option} must be a whole number from 0 to ${most.toLocaleString("en")}, got ${given}`,
  );
}

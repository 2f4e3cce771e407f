import { mostRows, type StartOptions } from "./options.ts";

/** What the environment asks for, or everything that is wrong with it, one line each. */
type EnvironmentResult = { options: StartOptions } | { problems: string[] };

/** The variable that sets the port of a service. */
export const portVariables = {
  users: "USERS_PORT",
  orders: "ORDERS_PORT",
  inventory: "INVENTORY_PORT",
} as const;

/** Reads the options of the program from environment variables; an empty one counts as absent. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): EnvironmentResult {
  const problems: string[] = [];

  function whole(name: string, fallback: number, most: number, what: string): number {
    const given = env[name]?.trim() || String(fallback);
    if (/^\d{1,9}$/.test(given) && Number(given) <= most) return Number(given);
    problems.push(
      `${name} is "${given}": give ${what} from 0 to ${most.toLocaleString("en")}, such as ${fallback}`,
    );
    return fallback;
  }

  const rows = (name: string, fallback: number) => whole(name, fallback, mostRows, "a whole number");
  const port = (name: string, fallback: number) => whole(name, fallback, 65_535, "a port (0: any free one)");
  const options = {
    users: rows("MOCK_USERS", 1_000),
    orders: rows("MOCK_ORDERS", 5_000),
    items: rows("MOCK_ITEMS", 3_000),
    host: env["MOCK_HOST"]?.trim() || "127.0.0.1",
    ports: {
      users: port(portVariables.users, 9101),
      orders: port(portVariables.orders, 9102),
      inventory: port(portVariables.inventory, 9103),
    },
  };
  return problems.length > 0 ? { problems } : { options };
}

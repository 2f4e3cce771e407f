import { portVariables, readEnvironment } from "./environment.ts";
import { ListenError, type RunningMocks, startMocks } from "./start.ts";

// The program: the three internal services until it is told to stop.

const environment = readEnvironment(process.env);
if ("problems" in environment) fail(environment.problems);
const { options } = environment;

let mocks: RunningMocks | undefined;
process.once("SIGINT", stop);
process.once("SIGTERM", stop);
// Who started this process with a channel is gone when the channel is: do not stay behind on its ports.
process.once("disconnect", stop);

try {
  // Nobody can ask this process for its calls.
  mocks = await startMocks({ ...options, recordedCalls: 0 });
} catch (error) {
  fail([describe(error)]);
}
print("users", mocks.users.url, options.users ?? 0, "users");
print("orders", mocks.orders.url, options.orders ?? 0, "orders");
print("inventory", mocks.inventory.url, options.items ?? 0, "items");
process.send?.({ users: mocks.users.url, orders: mocks.orders.url, inventory: mocks.inventory.url });

function print(service: string, url: string, count: number, what: string): void {
  process.stdout.write(`${service.padEnd(9)} gRPC  ${url}  ${count.toLocaleString("en")} ${what}\n`);
}

function stop(): void {
  setTimeout(() => process.exit(0), 200).unref();
  void mocks?.close().finally(() => process.exit(0));
  if (mocks === undefined) process.exit(0);
}

function fail(lines: readonly string[]): never {
  process.stderr.write(lines.map((line) => `${line}\n`).join(""));
  process.exit(1);
}

function describe(error: unknown): string {
  if (!(error instanceof ListenError)) return String(error);
  const variable = portVariables[error.service];
  const { port, host, code } = error;
  if (code === "EADDRINUSE")
    return `${variable}: port ${port} is taken on ${host}; stop what uses it or give another port`;
  if (code === "EACCES") return `${variable}: this user may not listen on port ${port}; give one above 1023`;
  return `MOCK_HOST: cannot listen on "${host}" (${code}); give an address of this machine, such as 127.0.0.1`;
}

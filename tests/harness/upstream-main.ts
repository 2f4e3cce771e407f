import { type RunningMocks, type StartOptions, startMocks } from "@portico/internal-mocks";
import {
  isRequest,
  type ServiceName,
  type UpstreamAnswer,
  type UpstreamRequest,
} from "./upstream-process.ts";

// The program: the three internal services, which its parent can set faults of and ask for their calls.

const options: StartOptions = JSON.parse(process.argv[2] ?? "{}");
const mocks = await startMocks({ ...options, recordedCalls: 0 });
process.on("disconnect", () => process.exit(0));
process.on("message", (message) => {
  if (isRequest(message)) void answer(message).then((result) => process.send?.(result));
});
process.send?.({
  urls: { users: mocks.users.url, orders: mocks.orders.url, inventory: mocks.inventory.url },
});

async function answer({ id, ask, service, fault, method }: UpstreamRequest): Promise<UpstreamAnswer> {
  const mock: Mock = mocks[service] as Mock;
  if (ask === "fault") mock.fault(fault ?? {});
  if (ask === "clear") mock.clearFaults();
  if (ask === "forget") mock.calls.clear();
  if (ask === "stop") await mock.stop();
  if (ask === "restart") await mock.restart();
  return { id, count: mock.calls.count(method), active: mock.calls.active(method) };
}

/** Any of the three: what names a method comes over the channel, and is checked by the service. */
type Mock = Omit<RunningMocks[ServiceName], "fault" | "calls"> & {
  readonly fault: (fault: object) => void;
  readonly calls: {
    readonly clear: () => void;
    readonly count: (method?: string) => number;
    readonly active: (method?: string) => number;
  };
};

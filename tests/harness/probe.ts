import { monitorEventLoopDelay } from "node:perf_hooks";

// Loaded into a process under test (`--import`), next to its own program: tells what only the process itself can know.

/** The state of a process. Bytes, and milliseconds. */
export interface Probe {
  /** Of the heap that is in use, after a collection. */
  readonly heapBytes: number;
  readonly externalBytes: number;
  readonly rssBytes: number;
  /** What keeps the event loop busy or alive, by kind: `Timeout`, `TCPSocketWrap`, ... */
  readonly resources: Readonly<Record<string, number>>;
  /** CPU time since the process began. */
  readonly cpuMs: number;
  /** How late the event loop was since the last probe. */
  readonly loopLagMs: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** What a process is asked for its state by, and what its answer is called. */
export const probeMessage = "portico-probe";

if (process.execArgv.some((argument) => argument.includes("harness/probe"))) answerProbes();

function answerProbes(): void {
  const lag = monitorEventLoopDelay({ resolution: 5 });
  lag.enable();
  process.on("message", (message) => {
    if (message !== probeMessage) return;
    const loopLagMs = { p50: lag.percentile(50) / 1e6, p99: lag.percentile(99) / 1e6, max: lag.max / 1e6 };
    // Twice: what a finalizer lets go of is collected by the second.
    globalThis.gc?.();
    globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const resources: Record<string, number> = {};
    for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
    const probe: Probe = {
      heapBytes: heapUsed,
      externalBytes: external,
      rssBytes: rss,
      resources,
      cpuMs: (user + system) / 1_000,
      loopLagMs,
    };
    process.send?.({ [probeMessage]: probe });
    lag.reset();
  });
  // Listening keeps the channel, and with it the process, alive; the program decides about that.
  process.channel?.unref();
}

import { startChild } from "../harness/child.ts";
import type { Upstreams } from "../harness/gateway-process.ts";
import { startUpstreams, type UpstreamProcess } from "../harness/upstream-process.ts";

/** The internal services, behind something that answers from memory. */
export interface RememberingUpstreams extends AsyncDisposable {
  readonly urls: Upstreams;
}

/**
 * Starts the internal services, and before them what answers equal calls from memory. It takes a fraction of the time of a
 * service, so that the gateway is what a load fills, and not the machine.
 */
export async function startRememberingUpstreams(
  options: Parameters<typeof startUpstreams>[0],
): Promise<RememberingUpstreams> {
  const upstreams: UpstreamProcess = await startUpstreams(options);
  const child = startChild(new URL("remembering-main.ts", import.meta.url), {
    args: [JSON.stringify(upstreams.urls)],
  });
  const { urls } = await child.told(isStart);
  return {
    urls,
    [Symbol.asyncDispose]: async () => {
      const { stderr } = await child.kill();
      await upstreams[Symbol.asyncDispose]();
      if (stderr !== "") throw new Error(`what answers from memory crashed:\n${stderr}`);
    },
  };
}

function isStart(message: unknown): message is { urls: Upstreams } {
  return typeof message === "object" && message !== null && "urls" in message;
}

import { commandLineWays } from "./command-line.ts";
import { connectNodeStreamWays, connectNodeWays } from "./connect-node.ts";
import { grpcJsStreamWay, grpcJsWay } from "./grpc-js.ts";
import { sdkStreamWay, sdkWay } from "./sdk.ts";
import type { StreamWay, Way } from "./way.ts";

/** Every way to make a unary call that the tests know. */
export const ways: readonly Way[] = [...connectNodeWays, grpcJsWay, ...commandLineWays, sdkWay];

/** Every way to read a stream. */
export const streamWays: readonly StreamWay[] = [...connectNodeStreamWays, grpcJsStreamWay, sdkStreamWay];

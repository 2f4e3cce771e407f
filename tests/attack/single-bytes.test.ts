import { expect, test } from "vitest";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { patientMs, unhurried } from "../faults/calls.ts";
import { hasProc } from "../harness/child.ts";
import { figure } from "../harness/figures.ts";
import { data, flags, frameTypes, headers, openFrames, request } from "../harness/frames.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { envelope } from "../raw-call.ts";
import { createWire } from "./fuzz/wire.ts";
import { cpuMsOf } from "./process-cpu.ts";

const chunks = 40_000;
const rounds = scaled(1);
const path = `/${UsersService.typeName}/GetUser`;
/** The field `id`, again and again: the last one counts, so that all of it is a valid request. */
const proto = Buffer.concat(Array.from({ length: chunks / 8 }, () => Buffer.from("\x0a\x06user-1")));
const json = Buffer.from(`{"id":"user-1"${" ".repeat(chunks - 15)}}`);

/** Sends a body byte by byte. Resolves to whether it was answered with the user. */
type Send = (url: string, token: string) => Promise<boolean>;
const sends: Readonly<Record<string, Send>> = {
  "Connect, JSON": overChunks("application/json", json),
  "Connect, protobuf": overChunks("application/proto", proto),
  "gRPC-Web": overChunks("application/grpc-web+proto", envelope(proto)),
  "gRPC over HTTP/2": overFrames("application/grpc+proto", envelope(proto)),
  "Connect over HTTP/2": overFrames("application/json", json),
};

test.skipIf(!hasProc)("D3 a body in single bytes", async () => {
  await using upstreams = await startUpstreams({ users: 20, orders: 0, items: 0 });
  await using gateway = await startGateway(upstreams.urls, {
    ...unhurried,
    DEFAULT_TIMEOUT_MS: `${patientMs}`,
  });
  const token = await gateway.token();
  const took: Record<string, number> = {};
  for (const [name, send] of Object.entries(sends)) {
    // The first makes the code warm, as it is in a gateway that has run for a while.
    expect(await send(gateway.url, token), name).toBe(true);
    const before = cpuMsOf(gateway.pid());
    for (let round = 0; round < rounds; round++) expect(await send(gateway.url, token), name).toBe(true);
    took[name] = Math.round((cpuMsOf(gateway.pid()) - before) / rounds);
  }
  figure({
    id: "D3",
    test: `${chunks} one-byte chunks, authenticated, over each protocol`,
    expected: "CPU <= 300 ms",
    measured: Object.entries(took)
      .map(([name, ms]) => `${name}: ${ms} ms`)
      .join("; "),
    reached: Object.values(took).every((ms) => ms <= 300),
  });
  expect(gateway.crashes()).toEqual([]);
});

function overChunks(type: string, body: Buffer): Send {
  const chunked = Buffer.concat([
    ...Array.from(body, (byte) => Buffer.from([0x31, 13, 10, byte, 13, 10])),
    Buffer.from("0\r\n\r\n"),
  ]);
  return async (url, token) => {
    const head =
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n` +
      `content-type: ${type}\r\ntransfer-encoding: chunked\r\n\r\n`;
    using wire = createWire(url, 60_000);
    const reply = await wire.send(Buffer.concat([Buffer.from(head), chunked]));
    return reply.kind === "answer" && reply.status === 200 && reply.body.includes("user-1");
  };
}

function overFrames(type: string, body: Buffer): Send {
  return async (url, token) => {
    const fields = request(path, [
      ["content-type", type],
      ["authorization", `Bearer ${token}`],
      ["te", "trailers"],
    ]);
    await using client = await openFrames(url);
    const bytes = Array.from(body, (byte, index) =>
      data(1, Buffer.of(byte), index === body.length - 1 ? flags.endStream : 0),
    );
    // Within the window of a stream, which is more than the body.
    await client.send(headers(1, fields), ...bytes);
    const answer = await client.next(({ type, streamId }) => type === frameTypes.data && streamId === 1);
    return answer?.payload.includes("user-1") ?? false;
  };
}

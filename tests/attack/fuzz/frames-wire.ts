import { frameTypes, openFrames, ping } from "../../harness/frames.ts";

/**
 * Sends what follows a connection's greeting, and a ping behind it: an answer to that, or the end of the connection, says
 * that the other side is through. Bytes can swallow the ping; then, too, nothing is wrong.
 */
export async function sendFrames(url: string, bytes: Buffer): Promise<void> {
  await using client = await openFrames(url);
  const sent = await client.send(bytes, ping(mark));
  if (!sent) return;
  const answered = client.next(({ type, payload }) => type === frameTypes.ping && payload.equals(mark));
  const patience = Promise.withResolvers<void>();
  const timer = setTimeout(patience.resolve, 200);
  await Promise.race([answered, client.ended, patience.promise]);
  clearTimeout(timer);
}

const mark = Buffer.from("are you ");

import type { Socket } from "node:net";

/** The 24 bytes that open every HTTP/2 connection made with prior knowledge (RFC 9113, 3.4). */
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/**
 * Reads just enough of a connection to tell HTTP/2 from anything else, puts the bytes back, and reports once.
 *
 * A connection that has not decided after `timeoutMs` is closed; so is one that ends first. The socket must be
 * fresh: nothing may have read from it.
 */
export function detectProtocol(
  socket: Socket,
  timeoutMs: number,
  found: (protocol: "h1" | "h2") => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeoutMs).unref();
  const giveUp = () => socket.destroy();

  function onReadable(): void {
    for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const protocol = protocolOf(seen);
      if (protocol === undefined) continue;
      stopWaiting();
      socket.unshift(seen);
      found(protocol);
      return;
    }
  }
  function stopWaiting(): void {
    clearTimeout(timer);
    socket.off("readable", onReadable).off("end", giveUp).off("close", stopWaiting);
  }
  socket.on("readable", onReadable).on("end", giveUp).on("close", stopWaiting);
}

/** Undefined while the bytes could still become the preface. */
function protocolOf(bytes: Buffer): "h1" | "h2" | undefined {
  const length = Math.min(bytes.length, preface.length);
  if (bytes.compare(preface, 0, length, 0, length) !== 0) return "h1";
  return length === preface.length ? "h2" : undefined;
}

import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";

/** Watches HTTP/2 connections for frames that ask for nothing. */
export interface FloodGuard {
  /** Watches a connection until it closes. */
  readonly watch: (session: ServerHttp2Session) => void;
  /** Looks at all connections once, and ends those that flood. */
  readonly check: () => void;
  readonly stop: () => void;
}

/** Milliseconds between two looks. */
const intervalMs = 250;
/** Bytes of such frames that a client may send at once, and how many it gets back between two looks. */
const burstBytes = 65_536;
const forgivenBytes = 2_048;
/** What a request may cost beside its header and its body: a window, a reset. */
const perStreamBytes = 128;
/** What the frames around a body may cost, as a multiple of it. */
const perBodyByte = 10;
/** PING and its answer have a size. */
const pingBytes = 17;

interface Watched {
  /** Bytes that may come for what has been asked, body and answers included. */
  allowed: number;
  /** How much more has come than that, less what time forgave. */
  excess: number;
  seen: number;
}

/**
 * Ends connections that keep the process busy with frames that carry nothing: PING, WINDOW_UPDATE and whatever comes next.
 * Node ends those that flood with resets, settings, empty DATA and headers that do not end, but says nothing of others.
 *
 * Frames cannot be seen from here, only their bytes: what came is held against what there was to say. Each request
 * allows for its header and some frames, its body for frames around it, and what we send for as many bytes in return,
 * since windows are opened for it. An honest client stays far below.
 */
export function createFloodGuard(): FloodGuard {
  const sessions = new Map<ServerHttp2Session, Watched>();
  const check = () => {
    for (const [session, watched] of sessions) {
      if (!isFlood(session, watched)) continue;
      sessions.delete(session);
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    }
  };
  const timer = setInterval(check, intervalMs).unref();
  return {
    watch: (session) => {
      const watched: Watched = { allowed: 0, excess: 0, seen: 0 };
      sessions.set(session, watched);
      session.once("close", () => sessions.delete(session));
      // Each is answered, so that what we send would pay for what came.
      session.on("ping", () => {
        watched.allowed -= pingBytes;
      });
      session.on("stream", (stream, _headers, _flags, rawHeaders) => {
        const header = rawHeaders.reduce((bytes, text) => bytes + text.length, perStreamBytes);
        watched.allowed += header;
        countBody(stream, watched);
      });
    },
    check,
    stop: () => clearInterval(timer),
  };
}

function isFlood(session: ServerHttp2Session, watched: Watched): boolean {
  if (session.destroyed) return false;
  const { bytesRead, bytesWritten } = session.socket;
  const unasked = bytesRead - bytesWritten - watched.allowed;
  watched.excess = Math.max(0, watched.excess + unasked - watched.seen - forgivenBytes);
  watched.seen = unasked;
  return watched.excess > burstBytes;
}

/** Not by "data", which would take the body away from who reads it. */
function countBody(stream: ServerHttp2Stream, watched: Watched): void {
  const push = stream.push.bind(stream);
  stream.push = (chunk: Uint8Array | null, encoding?: BufferEncoding) => {
    watched.allowed += perBodyByte * (chunk?.length ?? 0);
    return push(chunk, encoding);
  };
}

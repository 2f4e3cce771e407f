import type { IncomingMessage, ServerResponse } from "node:http";

/**
 * Invites the body of a request with `Expect: 100-continue` when somebody begins to read it, which is after the
 * caller was let in. Call it before the handler, from a server's "checkContinue".
 *
 * A refusal so comes without an invitation, and the body is never sent. A pipelined request that is read before its
 * turn gets none either: its client sends the body after a while without, as every client has to. Without an
 * invitation, Node closes the connection after the answer.
 *
 * @example
 * server.on("checkContinue", (req, res) => {
 *   continueWhenRead(req, res);
 *   handler(req, res);
 * });
 */
export function continueWhenRead(req: IncomingMessage, res: ServerResponse): void {
  // Every way to read a stream begins with one of these listeners; to discard it needs none.
  function onNewListener(event: string | symbol): void {
    if (event !== "data" && event !== "readable") return;
    req.off("newListener", onNewListener);
    // Before its turn a response has no socket, and Node would put its header in front of the invitation.
    const isItsTurn = res.socket !== null && res.socket !== undefined;
    if (isItsTurn && !res.headersSent && !res.writableEnded) res.writeContinue();
  }
  req.on("newListener", onNewListener);
}

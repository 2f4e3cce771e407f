import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { InventoryService } from "../../packages/gateway/src/gen/smpl/inventory/v1/inventory_service_pb.ts";
import { UsersService } from "../../packages/gateway/src/gen/smpl/users/v1/users_service_pb.ts";

/** Internal services whose users are called after whoever asks for them, as the gateway says it. */
export interface Mirror extends AsyncDisposable {
  readonly url: string;
  /** How often the users were asked for. */
  readonly calls: () => number;
}

/** What a mirror calls a caller: the subject and the roles; `nobody` if it is not told who asks. */
export function nameIn(headers: Headers): string {
  const subject = headers.get("x-portico-subject");
  return subject === null ? "nobody" : `${subject}.${headers.get("x-portico-roles")}`;
}

/** Starts services of users and items on a free port. Each user belongs to whoever asks, and nobody has items. */
export async function startMirror(): Promise<Mirror> {
  let calls = 0;
  const userOf = (id: string, headers: Headers) => {
    calls++;
    const name = nameIn(headers);
    return { id, email: name, displayName: name };
  };
  const routes = (router: ConnectRouter) => {
    router.service(UsersService, {
      getUser: ({ id }, { requestHeader }) => ({ user: userOf(id, requestHeader) }),
      batchGetUsers: ({ ids }, { requestHeader }) => ({ users: ids.map((id) => userOf(id, requestHeader)) }),
      listUsers: (_, { requestHeader }) => ({
        users: ["user-1", "user-2"].map((id) => userOf(id, requestHeader)),
      }),
    });
    router.service(InventoryService, { listItems: () => ({ items: [] }) });
  };
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer(connectNodeAdapter({ routes }));
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {}).on("close", () => sessions.delete(session));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    // A TCP server's address is never the text that a Unix socket's is.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls: () => calls,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}

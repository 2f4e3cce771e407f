import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { countUp } from "./data/merge.ts";
import type { Users } from "./data/users.ts";
import type { UsersService } from "./gen/smpl/users/v1/users_service_pb.ts";
import { readPage, takePage } from "./paging.ts";

/** The users service over its data. */
export function usersImpl(users: Users): ServiceImpl<typeof UsersService> {
  return {
    createUser({ email, displayName }) {
      if (email.trim() === "") throw new ConnectError("email must not be empty", Code.InvalidArgument);
      if (users.isTaken(email)) throw new ConnectError(`the email ${email} is taken`, Code.AlreadyExists);
      return { user: users.create(email, displayName) };
    },

    getUser({ id }) {
      const user = users.find(id);
      if (user === undefined) throw new ConnectError(`there is no user "${id}"`, Code.NotFound);
      return { user };
    },

    listUsers(request) {
      const { size, last = -1 } = readPage(request, { kind: "users", most: 1_000 }, users.size());
      const { indices, nextPageToken } = takePage(countUp(last + 1, users.size()), "users", size);
      return { users: indices.map(users.at), nextPageToken };
    },

    batchGetUsers({ ids }) {
      if (ids.length > 1_000) {
        throw new ConnectError(`ids must be 1,000 at the most, got ${ids.length}`, Code.InvalidArgument);
      }
      return { users: users.findAll(ids) };
    },
  };
}

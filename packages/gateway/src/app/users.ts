import { UsersService } from "../gen/smpl/api/users/v1/api_users_service_pb.ts";
import { present, reword, service } from "../index.ts";
import { createUser, getUser, listUsers } from "./requests.ts";
import { users } from "./upstreams.ts";
import { userView } from "./views.ts";

export const usersService = service(UsersService, {
  async createUser(request, call) {
    const { user } = await reword(users.createUser(createUser(request), call), {
      ALREADY_EXISTS: { field: "email", description: "there is a user with this email already" },
      REQUEST_REJECTED: { field: "email", description: "is not valid" },
    });
    return { user: await userView.one(present(user, "user"), call) };
  },

  async getUser(request, call) {
    const { user } = await reword(users.getUser(getUser(request), call), {
      NOT_FOUND: { field: "id", description: "there is no user with this id" },
    });
    return { user: await userView.one(present(user, "user"), call) };
  },

  async listUsers(request, call) {
    const page = listUsers(request);
    const { users: list, nextPageToken } = await users.listUsers(page.request, call);
    return { users: await userView.all(list, call), nextPageToken: page.next(nextPageToken) };
  },
});

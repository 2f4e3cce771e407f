import { ListUsersRequestSchema, UsersService } from "../gen/smpl/api/users/v1/api_users_service_pb.ts";
import { paging, present, reword, service } from "../index.ts";
import { users } from "./upstreams.ts";
import { userView } from "./views.ts";

const pageOf = paging(ListUsersRequestSchema, { defaultSize: 50, maxSize: 500 });

export const usersService = service(UsersService, {
  async createUser({ email, displayName }, call) {
    const { user } = await reword(users.createUser({ email, displayName }, call), {
      ALREADY_EXISTS: { field: "email", description: "there is a user with this email already" },
      REQUEST_REJECTED: { field: "email", description: "is not valid" },
    });
    return { user: await userView.one(present(user, "user"), call) };
  },

  async getUser({ id }, call) {
    const { user } = await reword(users.getUser({ id }, call), {
      NOT_FOUND: { field: "id", description: "there is no user with this id" },
    });
    return { user: await userView.one(present(user, "user"), call) };
  },

  async listUsers(request, call) {
    const { pageSize, pageToken, next } = pageOf(request);
    const page = await users.listUsers({ pageSize, pageToken }, call);
    return { users: await userView.all(page.users, call), nextPageToken: next(page.nextPageToken) };
  },
});

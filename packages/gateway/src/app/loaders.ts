import { groupLoader, loader } from "../index.ts";
import { inventory, users } from "./upstreams.ts";

export const usersById = loader(users, {
  batch: {
    method: "batchGetUsers",
    items: (response) => response.users,
    key: (user) => user.id,
    request: (ids) => ({ ids }),
    max: 500,
  },
});

export const itemsByOwner = groupLoader(inventory, {
  batch: {
    method: "listItems",
    items: (response) => response.items,
    key: (item) => item.ownerId,
    request: (ownerIds, pageToken) => ({ ownerIds, pageToken, pageSize: 10_000 }),
    max: 500,
    nextPageToken: (response) => response.nextPageToken,
  },
});

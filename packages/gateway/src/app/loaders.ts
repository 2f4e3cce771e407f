import { groupLoader, loader } from "../index.ts";
import { inventory, users } from "./upstreams.ts";

// How entities are fetched that several services need. The services know callers for their audit logs alone, and answer
// all of them alike: that is why what is kept may be shared by everyone.

export const usersById = loader(users, {
  batch: { method: "batchGetUsers", request: (ids) => ({ ids }), items: "users", key: "id", max: 500 },
  // For a service that has no batches yet.
  all: {
    method: "listUsers",
    request: (pageToken) => ({ pageToken, pageSize: 1_000 }),
    items: "users",
    key: "id",
    nextPageToken: "nextPageToken",
  },
  cache: {
    ttlMs: 5_000,
    missingTtlMs: 5_000,
    scope: "public",
    forget: { createUser: ({ user }) => (user === undefined ? [] : [user.id]) },
  },
});

export const itemsByOwner = groupLoader(inventory, {
  batch: {
    method: "listItems",
    request: (ownerIds, pageToken) => ({ ownerIds, pageToken, pageSize: 10_000 }),
    items: "items",
    key: "ownerId",
    max: 500,
    nextPageToken: "nextPageToken",
  },
});

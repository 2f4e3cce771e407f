import { expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { thrownBy } from "../../testing/call.ts";
import { createWatchers } from "./watchers.ts";

test("refuses who finds no seat, and says when to try again", async () => {
  const watchers = createWatchers({ inAll: 2, perAddress: 2 });
  watchers.enter("192.0.2.1");
  watchers.enter("192.0.2.2");
  const error = await thrownBy(() => watchers.enter("192.0.2.3"));
  expect(error instanceof PublicError && [error.reason, error.options]).toEqual([
    "RATE_LIMIT_EXCEEDED",
    { metadata: { limit: "watchers" }, retryAfterMs: 10_000 },
  ]);
});

test("lets no address take the seats of all others", async () => {
  const watchers = createWatchers({ inAll: 10, perAddress: 1 });
  watchers.enter("192.0.2.1");
  expect(await thrownBy(() => watchers.enter("192.0.2.1"))).toBeInstanceOf(PublicError);
  watchers.enter("192.0.2.2");
  watchers.enter("2001:db8::1");
  expect(await thrownBy(() => watchers.enter("2001:db8::2"))).toBeInstanceOf(PublicError);
});

test("gives a seat to the next when somebody leaves, and only once", async () => {
  const watchers = createWatchers({ inAll: 1, perAddress: 1 });
  const leave = watchers.enter("192.0.2.1");
  leave();
  leave();
  watchers.enter("192.0.2.1");
  expect(await thrownBy(() => watchers.enter("192.0.2.2"))).toBeInstanceOf(PublicError);
});

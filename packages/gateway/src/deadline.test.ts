import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { beforeAbort, startDeadline } from "./deadline.ts";
import { PublicError } from "./errors.ts";
import { thrownBy } from "./testing/call.ts";

describe("startDeadline", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
  afterEach(() => void vi.useRealTimers());

  test("aborts when the time is over, and not before", () => {
    const { signal, remainingMs } = startDeadline(100, new AbortController().signal);
    vi.advanceTimersByTime(99);
    expect(signal.aborted).toBe(false);
    expect(remainingMs()).toBe(1);
    vi.advanceTimersByTime(1);
    expect(signal.reason).toMatchObject({ code: Code.DeadlineExceeded });
    expect(signal.reason).toBeInstanceOf(PublicError);
  });

  test.each([0, 1])("ends with signal %i of those that it was made from, and stops its clock", (index) => {
    const controllers = [new AbortController(), new AbortController()];
    const { signal } = startDeadline(100, ...controllers.map(({ signal }) => signal));
    const reason = new PublicError("RESTARTING", "over");
    controllers[index]?.abort(reason);
    expect(signal.reason).toBe(reason);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("made from a signal that has aborted, it has ended", () => {
    const reason = new ConnectError("gone", Code.Canceled);
    expect(startDeadline(100, AbortSignal.abort(reason)).signal.reason).toBe(reason);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("the transport's own time-out gets the gateway's words", () => {
    const controller = new AbortController();
    const { signal } = startDeadline(100, controller.signal);
    controller.abort(new ConnectError("the operation timed out", Code.DeadlineExceeded));
    expect(signal.reason).toBeInstanceOf(PublicError);
  });
});

describe("beforeAbort", () => {
  test("is the value, if it comes first", async () => {
    const { signal } = new AbortController();
    expect(await beforeAbort(signal, 5)).toBe(5);
    expect(await beforeAbort(signal, Promise.resolve(6))).toBe(6);
    expect(await thrownBy(beforeAbort(signal, Promise.reject(new Error("no"))))).toMatchObject({
      message: "no",
    });
  });

  test("is the reason, if the signal aborts first, or has aborted", async () => {
    const controller = new AbortController();
    const waiting = beforeAbort(controller.signal, new Promise(() => {}));
    const reason = new Error("over");
    controller.abort(reason);
    expect(await thrownBy(waiting)).toBe(reason);
    expect(await thrownBy(beforeAbort(controller.signal, new Promise(() => {})))).toBe(reason);
  });
});

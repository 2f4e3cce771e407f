import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createStallGuard, inPieces } from "./stall.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("cuts who takes nothing for as long as the grace", () => {
  const cut = vi.fn();
  const guard = createStallGuard(cut);
  vi.advanceTimersByTime(60_000);
  guard.start(1_000);
  vi.advanceTimersByTime(999);
  expect(cut).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(cut).toHaveBeenCalledOnce();
});

test("leaves who takes slowly but steadily", () => {
  const cut = vi.fn();
  const guard = createStallGuard(cut);
  guard.start(1_000);
  for (let seconds = 0; seconds < 100; seconds++) {
    vi.advanceTimersByTime(900);
    guard.progress();
  }
  expect(cut).not.toHaveBeenCalled();
});

test.each(["before", "after"])("an answer that ended %s the call leaves no timer", (when) => {
  const cut = vi.fn();
  const guard = createStallGuard(cut);
  if (when === "before") guard.stop();
  guard.start(1_000);
  if (when === "after") guard.stop();
  guard.progress();
  expect(vi.getTimerCount()).toBe(0);
});

test("a body comes out whole, in pieces, each of which is said to be taken by the next", async () => {
  const chunks = [new Uint8Array(0), new Uint8Array(10).fill(1), new Uint8Array(150_000).fill(2)];
  async function* body() {
    yield* chunks;
  }
  const taken = vi.fn();
  const sizes: number[] = [];
  for await (const piece of inPieces(body(), taken)) {
    expect(taken).toHaveBeenCalledTimes(sizes.length);
    sizes.push(piece.byteLength);
  }
  expect(sizes).toEqual([10, 65_536, 65_536, 18_928]);
  expect(taken).toHaveBeenCalledTimes(4);
});

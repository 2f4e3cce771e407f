import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createReadiness, type Readiness, type ReadinessParts, type ReadyRule } from "./readiness.ts";

type State = ReturnType<ReadinessParts["states"]>[string];

let states: Record<string, State>;
let probed: string[];
let made: Readiness[];
beforeEach(() => {
  vi.useFakeTimers();
  states = { crates: "idle", shelves: "idle" };
  probed = [];
  made = [];
});
afterEach(() => {
  for (const readiness of made) readiness.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("a gateway", () => {
  test("is not ready before it listens, nor once it stops", () => {
    const readiness = create("none");
    expect(readiness.lacks()).toEqual(["the gateway is starting"]);
    readiness.start();
    expect(readiness.ready()).toBe(true);
    expect(readiness.lacks()).toEqual([]);
    readiness.stop();
    expect(readiness.lacks()).toEqual(["the gateway is stopping"]);
    readiness.start();
    expect(readiness.ready()).toBe(false);
  });

  test("connects to every upstream when it starts, and is ready meanwhile", () => {
    const readiness = start("all");
    expect(probed).toEqual(["crates", "shelves"]);
    states = { crates: "connecting", shelves: "idle" };
    expect(readiness.ready()).toBe(true);
  });
});

describe("the rule", () => {
  test.each<[ReadyRule, Record<string, State>, boolean]>([
    ["none", { crates: "unreachable", shelves: "unreachable" }, true],
    ["any", { crates: "unreachable", shelves: "idle" }, true],
    ["any", { crates: "unreachable", shelves: "connecting" }, true],
    ["any", { crates: "unreachable" }, true],
    ["any", { crates: "unreachable", shelves: "unreachable" }, false],
    ["all", { crates: "ready", shelves: "idle" }, true],
    ["all", { crates: "ready", shelves: "unreachable" }, false],
    [["crates"], { crates: "ready", shelves: "unreachable" }, true],
    [["crates"], { crates: "unreachable", shelves: "ready" }, false],
    [[], { crates: "unreachable", shelves: "unreachable" }, true],
  ])("%j with %j: ready is %s", (rule, given, ready) => {
    const readiness = start(rule);
    states = given;
    expect(readiness.ready()).toBe(ready);
  });

  test("any is kept by a gateway without upstreams", () => {
    const readiness = createReadiness({
      rule: "any",
      upstreams: [],
      states: () => ({}),
      probe: async () => {},
    });
    made.push(readiness);
    readiness.start();
    expect(readiness.ready()).toBe(true);
  });

  test("names every upstream that keeps the gateway from being ready", () => {
    const readiness = start("any");
    states = { crates: "unreachable", shelves: "unreachable" };
    expect(readiness.lacks()).toEqual([
      "the upstream crates is unreachable",
      "the upstream shelves is unreachable",
    ]);
  });
});

describe("an upstream that was out of reach", () => {
  test("stays so while it is tried again, and is back once it is connected", () => {
    const readiness = start("all");
    states = { crates: "unreachable" };
    expect(readiness.ready()).toBe(false);
    states = { crates: "connecting" };
    expect(readiness.ready()).toBe(false);
    states = { crates: "ready" };
    expect(readiness.ready()).toBe(true);
    // A connection that ended in good order is opened again by the next call.
    states = { crates: "connecting" };
    expect(readiness.ready()).toBe(true);
  });

  test("is tried once a second, and no other is", () => {
    start("all");
    states = { crates: "unreachable", shelves: "ready" };
    probed = [];
    vi.advanceTimersByTime(3_000);
    expect(probed).toEqual(["crates", "crates", "crates"]);
    states = { crates: "ready", shelves: "ready" };
    vi.advanceTimersByTime(3_000);
    expect(probed).toHaveLength(3);
  });
});

describe("who watches", () => {
  test("is told of each change, whether or not anybody asks, until it stops", () => {
    const readiness = create("any");
    const seen: boolean[] = [];
    const leave = readiness.watch(() => seen.push(readiness.ready()));
    readiness.start();
    vi.advanceTimersByTime(1_000);
    states = { crates: "unreachable", shelves: "unreachable" };
    vi.advanceTimersByTime(500);
    states = { crates: "ready", shelves: "unreachable" };
    vi.advanceTimersByTime(500);
    expect(seen).toEqual([true, false, true]);
    leave();
    readiness.stop();
    expect(seen).toHaveLength(3);
  });

  test("is told at once that the gateway stops", () => {
    const readiness = start("any");
    const seen: boolean[] = [];
    readiness.watch(() => seen.push(readiness.ready()));
    readiness.stop();
    expect(seen).toEqual([false]);
  });
});

function create(rule: ReadyRule): Readiness {
  const readiness = createReadiness({
    rule,
    upstreams: ["crates", "shelves"],
    states: () => states,
    probe: async (name) => {
      probed.push(name);
      if (states[name] === "unreachable") throw new Error("cannot be reached");
    },
  });
  made.push(readiness);
  return readiness;
}

function start(rule: ReadyRule): Readiness {
  const readiness = create(rule);
  readiness.start();
  return readiness;
}

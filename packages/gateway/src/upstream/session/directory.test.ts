import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createDirectory } from "./directory.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A directory whose names are found where `found` says; an Error there is thrown. */
function directory(addresses: readonly string[], found: Record<string, readonly string[] | Error> = {}) {
  const asked: string[] = [];
  let changes = 0;
  const resolve = async (host: string) => {
    asked.push(host);
    const answer = found[host] ?? new Error("not found");
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const options = { resolve, dnsTtlMs: 30_000, connectTimeoutMs: 1_000 };
  const it = createDirectory(
    addresses.map((address) => new URL(address)),
    options,
    () => {
      changes += 1;
    },
  );
  const labels = () => it.targets().map(({ label, host }) => `${label} -> ${host}`);
  return { ...it, asked, labels, changes: () => changes };
}

test("IP addresses and localhost are not looked up", () => {
  const it = directory(["http://127.0.0.1:1", "https://[::1]:2", "http://localhost:3"]);
  it.start();
  expect(it.labels()).toEqual(["127.0.0.1:1 -> 127.0.0.1", "[::1]:2 -> ::1", "localhost:3 -> localhost"]);
  expect(it.asked).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test("a name stands for all its addresses, once each; nothing is looked up before the start", async () => {
  const it = directory(["http://warehouse:9101"], {
    warehouse: ["10.0.0.1", "10.0.0.2", "10.0.0.1", "fd00::1"],
  });
  expect(it.asked).toEqual([]);
  expect(it.unknown()).toEqual([{ address: "warehouse:9101", problem: undefined }]);
  it.start();
  expect(it.isLooking()).toBe(true);
  await vi.advanceTimersByTimeAsync(0);
  expect(it.isLooking()).toBe(false);
  expect(it.labels()).toEqual([
    "warehouse:9101 at 10.0.0.1 -> 10.0.0.1",
    "warehouse:9101 at 10.0.0.2 -> 10.0.0.2",
    "warehouse:9101 at fd00::1 -> fd00::1",
  ]);
  expect([it.changes(), it.unknown()]).toEqual([1, []]);
});

test("it is looked up again every 30 s, and what is found last counts", async () => {
  const found = { warehouse: ["10.0.0.1"] };
  const it = directory(["http://warehouse:9101"], found);
  it.start();
  it.start();
  await vi.advanceTimersByTimeAsync(29_999);
  expect(it.asked).toHaveLength(1);
  found.warehouse = ["10.0.0.2"];
  await vi.advanceTimersByTimeAsync(1);
  expect(it.asked).toHaveLength(2);
  expect(it.targets().map(({ host }) => host)).toEqual(["10.0.0.2"]);
});

test.each<[string, readonly string[] | Error]>([
  ["cannot be found any more", new Error("ENOTFOUND")],
  ["has no addresses any more", []],
])("a name that %s keeps its last ones", async (_, then) => {
  const found: Record<string, readonly string[] | Error> = { warehouse: ["10.0.0.1"] };
  const it = directory(["http://warehouse:9101"], found);
  it.start();
  await vi.advanceTimersByTimeAsync(0);
  found["warehouse"] = then;
  await vi.advanceTimersByTimeAsync(30_000);
  expect(it.targets().map(({ host }) => host)).toEqual(["10.0.0.1"]);
});

test("a name that was never found says why", async () => {
  const it = directory(["http://warehouse:9101"], { warehouse: new Error("ENOTFOUND warehouse") });
  it.start();
  await vi.advanceTimersByTimeAsync(0);
  expect(it.unknown()).toEqual([
    { address: "warehouse:9101", problem: "warehouse:9101: ENOTFOUND warehouse" },
  ]);
});

test("a resolver that does not answer is not waited for", async () => {
  const resolve = () => new Promise<never>(() => {});
  const options = { resolve, dnsTtlMs: 30_000, connectTimeoutMs: 1_000 };
  const it = createDirectory([new URL("http://warehouse:9101")], options, () => {});
  it.start();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(it.isLooking()).toBe(false);
  expect(it.unknown()[0]?.problem).toBe("warehouse:9101: not found within 1000 ms");
});

test("is not asked again before it has answered; what it says late counts", async () => {
  const answers: PromiseWithResolvers<readonly string[]>[] = [];
  const resolve = () => {
    const answer = Promise.withResolvers<readonly string[]>();
    answers.push(answer);
    return answer.promise;
  };
  const options = { resolve, dnsTtlMs: 30_000, connectTimeoutMs: 1_000 };
  const it = createDirectory([new URL("http://warehouse:9101")], options, () => {});
  it.start();
  for (let times = 0; times < 60; times += 1) {
    await vi.advanceTimersByTimeAsync(2_000);
    it.refresh();
  }
  expect(answers).toHaveLength(1);
  answers[0]?.resolve(["10.0.0.1"]);
  await vi.advanceTimersByTimeAsync(0);
  expect([it.targets().length, it.unknown()]).toEqual([1, []]);
  it.refresh();
  expect(answers).toHaveLength(2);
});

test("it is looked up at once when asked to, but no more than once a second", async () => {
  const it = directory(["http://warehouse:9101"], { warehouse: ["10.0.0.1"] });
  it.start();
  await vi.advanceTimersByTimeAsync(5_000);
  for (let times = 0; times < 100; times += 1) it.refresh();
  await vi.advanceTimersByTimeAsync(0);
  for (let times = 0; times < 100; times += 1) it.refresh();
  expect(it.asked).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(it.asked).toHaveLength(3);
});

test("closed, nothing is looked up any more", async () => {
  const it = directory(["http://warehouse:9101"], { warehouse: ["10.0.0.1"] });
  it.start();
  await vi.advanceTimersByTimeAsync(0);
  it.refresh();
  it.close();
  await vi.advanceTimersByTimeAsync(120_000);
  it.refresh();
  expect(it.asked).toHaveLength(1);
  expect(vi.getTimerCount()).toBe(0);
});

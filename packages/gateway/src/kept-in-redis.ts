import { crc32 } from "node:zlib";
import type { Redis } from "ioredis";
import type { Kept } from "./kept-bytes.ts";
import { createKeptQueue } from "./kept-queue.ts";
import type { SharedStore } from "./redis.ts";

/** What replicas keep together. Nothing here rejects, or takes longer than {@link SharedStore.ask}. */
export interface RedisLevel {
  /** What there is under the keys, each of them given once. */
  readonly get: (keys: readonly string[]) => Promise<ReadonlyMap<string, Kept>>;
  /** Puts something under a key, in the background: together with all else that is put there at the same time. */
  readonly set: (key: string, kept: Kept) => void;
  readonly forget: (keys: readonly string[]) => Promise<void>;
}

/**
 * Creates the level of {@link KeptBytes} that replicas share.
 *
 * All times in Redis are those of its own clock, so that it does not matter how the clocks of the replicas go. Where a
 * time cannot be known exactly, an entry is taken to be older than it is, never younger; and a mark younger, never older.
 *
 * @param now the clock of `Kept`, in milliseconds
 */
export function createRedisLevel(store: SharedStore, namespace: string, now: () => number): RedisLevel {
  const nameOf = (key: string) => `portico:${namespace}:${key}`;
  const markOf = (key: string) => `portico:${namespace}:${key}:forgotten`;
  const queue = createKeptQueue();
  let flushing = false;
  let latest: Clock | undefined;

  /** What Redis's clock says, whenever it is asked for something else anyway. */
  async function readClock(client: Redis): Promise<Clock> {
    const askedAt = now();
    const time = toMs(await client.time());
    latest = { askedAt, readAt: now(), time };
    return latest;
  }

  /** Puts all that waits into Redis, one batch after the other: a page of entities is one command, not as many as it has. */
  async function flush(): Promise<void> {
    for (let batch = queue.take(); batch.length > 0; batch = queue.take()) {
      const recent = latest !== undefined && now() - latest.readAt < clockMs ? latest : undefined;
      const clock = recent ?? (await store.ask(readClock));
      const done = clock && (await store.ask((client) => put(client, batch, clock)));
      // While Redis is lost, what waits is not worth its memory.
      if (done === undefined) queue.clear();
    }
    flushing = false;
  }

  function put(client: Redis, batch: ReturnType<typeof queue.take>, clock: Clock): Promise<unknown> {
    const names = batch.flatMap(([key]) => [nameOf(key), markOf(key)]);
    const values = batch.flatMap(([, kept]) => {
      const born = clock.time + kept.bornAt - (kept.isMark ? clock.askedAt : clock.readAt);
      // What is over by now is kept for no time worth mentioning.
      const leftMs = Math.max(1, Math.ceil(kept.staleUntil - now()));
      return [writeRecord(kept, born), String(born), String(leftMs)];
    });
    return client.eval(setScript, names.length, ...names, ...values);
  }

  return {
    get: async (keys) => {
      // In this order, so that nothing that is found was born later.
      const answer = await store.ask((client) =>
        Promise.all([client.mgetBuffer(keys.map(nameOf)), readClock(client)]),
      );
      const [records, clock] = answer ?? [[], undefined];
      if (clock === undefined) return new Map();
      return new Map(
        records.flatMap((record, index) => {
          const [key, kept] = [keys[index], record && readRecord(record, clock)];
          return key !== undefined && kept ? [[key, kept] as const] : [];
        }),
      );
    },
    set: (key, kept) => {
      // What took longer than marks are kept may be what one of them forbade.
      if (kept.bytes.byteLength > maxSharedBytes || now() - kept.bornAt > markMs) return;
      queue.add(key, kept);
      if (flushing) return;
      flushing = true;
      setImmediate(() => void flush());
    },
    forget: async (keys) => {
      const names = keys.flatMap((key) => [nameOf(key), markOf(key)]);
      await store.ask((client) => client.eval(forgetScript, names.length, ...names, String(markMs)));
    },
  };
}

/** What Redis's clock said, in milliseconds, between two moments of the clock of this replica. */
interface Clock {
  readonly askedAt: number;
  readonly readAt: number;
  readonly time: number;
}

/** Larger ones would keep others waiting: a Redis does one thing at a time. */
const maxSharedBytes = 256 * 2 ** 10;

/** How long Redis remembers that something was forgotten: longer than a fetch that is still worth keeping. */
const markMs = 60_000;

/** For how long two clocks go alike: in that time, they come apart by half a millisecond at the most. */
const clockMs = 1_000;

/**
 * `KEYS`: entries, each followed by its mark; `ARGV`: for each entry the record, its birth, and for how many milliseconds
 * it is kept. What is there does not count if it is from the future: Redis's clock was set back.
 */
const setScript = `
local time = redis.call('time')
local future = time[1] * 1000 + time[2] / 1000 + 1000
for i = 1, #KEYS, 2 do
  local at = (i - 1) / 2 * 3
  local born = tonumber(ARGV[at + 2])
  local mark = redis.call('get', KEYS[i + 1])
  local head = redis.call('getrange', KEYS[i], 0, 8)
  local there = #head == 9 and struct.unpack('>d', head, 2)
  local forgotten = mark and born <= tonumber(mark)
  local outdated = there and there > born and there < future
  if not forgotten and not outdated then
    redis.call('set', KEYS[i], ARGV[at + 1], 'PX', ARGV[at + 3])
  end
end
return #KEYS / 2
`;

/** `KEYS`: entries, each followed by its mark; `ARGV`: for how many milliseconds marks are kept. */
const forgetScript = `
local time = redis.call('time')
local now = string.format('%.3f', time[1] * 1000 + time[2] / 1000)
for i = 1, #KEYS, 2 do
  redis.call('del', KEYS[i])
  redis.call('set', KEYS[i + 1], now, 'PX', ARGV[1])
end
return #KEYS / 2
`;

function toMs([seconds, microseconds]: readonly (number | string)[]): number {
  return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
}

// A record is: its kind, the birth by Redis's clock, for how long it is fresh, for how long after that it may be stale
// (all in milliseconds), a check sum of the bytes, the bytes. Another form has other kinds.
const kinds = { entry: 1, mark: 2 };
const headBytes = 1 + 3 * 8 + 4;

function writeRecord({ bytes, bornAt, freshUntil, staleUntil, isMark }: Kept, born: number): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt8(isMark ? kinds.mark : kinds.entry, 0);
  head.writeDoubleBE(born, 1);
  head.writeDoubleBE(freshUntil - bornAt, 9);
  head.writeDoubleBE(staleUntil - freshUntil, 17);
  head.writeUInt32BE(crc32(bytes), 25);
  return Buffer.concat([head, bytes]);
}

/** The entry, if the record is whole and neither from the future nor over. */
function readRecord(record: Buffer, { askedAt, readAt, time }: Clock): Kept | undefined {
  if (record.length < headBytes || !Object.values(kinds).includes(record.readUInt8(0))) return undefined;
  const isMark = record.readUInt8(0) === kinds.mark;
  const sinceBirth = time - record.readDoubleBE(1);
  // A mark is from the future if the doubt about its time is more than its age.
  const age = isMark ? Math.max(0, sinceBirth) : sinceBirth;
  const [freshMs, staleMs] = [record.readDoubleBE(9), record.readDoubleBE(17)];
  if (!(age >= 0 && freshMs >= 0 && staleMs >= 0 && age < freshMs + staleMs)) return undefined;
  // A copy: the buffer is a part of a larger one, which would be kept with it.
  const bytes = new Uint8Array(record.subarray(headBytes));
  if (crc32(bytes) !== record.readUInt32BE(25)) return undefined;
  const bornAt = (isMark ? readAt : askedAt) - age;
  const freshUntil = bornAt + freshMs;
  return { bytes, bornAt, freshUntil, staleUntil: freshUntil + staleMs, ...(isMark && { isMark }) };
}

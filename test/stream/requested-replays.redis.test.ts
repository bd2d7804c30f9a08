/** Reads of dead letters whose replay is requested, in a real Redis: which are read, how many at a time, in order. */
import { Packr } from "msgpackr";
import { beforeEach, describe, expect, it } from "vitest";
import { requestReplay } from "../../engine/stream/dead-letter.js";
import { sinkKeys } from "../../engine/stream/keys.js";
import { RequestedReplays } from "../../engine/stream/requested-replays.js";
import { withRedis } from "../redis/with-redis.js";

const packr = new Packr({ useRecords: false });
const redis = withRedis();
const LARGE = 700 * 1024;
let keys: ReturnType<typeof sinkKeys>;
let prefixes = 0;

beforeEach(() => {
  keys = sinkKeys(`r${prefixes++}`, "toys", 0, "wms");
});

/** A dead letter for each size, whose replay is requested; 0: without an entry. */
async function request(sizes: readonly number[]): Promise<string[]> {
  const client = redis.connect();
  const requested: { id: string; offset: number }[] = [];
  for (const [i, size] of sizes.entries()) {
    const offset = i + 1;
    const packed = packr.pack({ offset, reason: "refused", tries: 1 });
    const id = (await client.xadd(keys.deadLetters, "*", "d", packed, "o", String(offset))) as string;
    if (size > 0)
      await client.hset(keys.deadEntries, `r:${offset}`, packr.pack([Buffer.from("r"), Buffer.alloc(size)]));
    requested.push({ id, offset });
  }
  await requestReplay(client, keys, requested);
  return requested.map(({ id }) => id);
}

const read = async (requests: RequestedReplays, isKnown?: (id: string) => boolean): Promise<string[][]> => {
  const groups: string[][] = [];
  for await (const group of requests.read(isKnown)) groups.push(group.map(({ id }) => id));
  return groups;
};

describe("requested replays", () => {
  it("are read some at a time, by number and by bytes, in the order of the log", async () => {
    const ids = await request([...Array.from({ length: 300 }, () => 1), LARGE, LARGE, 5 * LARGE, 1]);
    const groups = await read(new RequestedReplays(redis.connect(), keys));
    expect(groups.flat()).toEqual(ids);
    expect(Math.max(...groups.map(({ length }) => length))).toBe(64);
    expect(groups.slice(-3)).toEqual([[ids[301]], [ids[302]], [ids[303]]]);
  });

  it("are passed over without a read when they are under replay or cannot be replayed", async () => {
    const ids = await request([1, 0, 1, 1]);
    const requests = new RequestedReplays(redis.connect(), keys);
    requests.pass(ids[1] as string);
    expect(await read(requests, (id) => id === ids[0])).toEqual([[ids[2], ids[3]]]);
  });

  it("are deleted when their dead letters were removed", async () => {
    const client = redis.connect();
    const ids = await request(Array.from({ length: 300 }, () => 1));
    await client.xdel(keys.deadLetters, ...ids.slice(0, 100));
    expect((await read(new RequestedReplays(client, keys))).flat()).toEqual(ids.slice(100));
    expect(await client.zcard(keys.deadRequests)).toBe(200);
  });

  it("are taken for a commit in small parts, those with bytes only", async () => {
    const ids = await request([0, LARGE, LARGE, LARGE, ...Array.from({ length: 300 }, () => 0), LARGE]);
    const requests = new RequestedReplays(redis.connect(), keys);
    const next = async () => (await requests.next()).map(({ id }) => id);
    expect(await next()).toEqual(ids.slice(1, 3));
    await redis.connect().xdel(keys.deadLetters, ...ids.slice(1, 4));
    expect(await next()).toEqual(ids.slice(-1));
  });
});

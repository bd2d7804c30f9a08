/**
 * Commits of a partition with emits, and a view where a test asks for it, without jobs: as fast as Redis takes them.
 */
import { acquireTask, commitTask, type Task } from "../../engine/stream/commit.js";
import type { Emit } from "../../engine/stream/job.js";
import { partitionKeys } from "../../engine/stream/keys.js";
import { OutRecordWriter } from "../../engine/stream/out-record.js";
import type { RedisClient } from "../../engine/stream/redis.js";

const LEASE_MS = 3_600_000;

export const emitOfKey = (key: string, kind = "seen"): Emit => ({ job: "toy.1", kind, key, atMs: 0, payload: {} });

export class EmitCommits {
  readonly #client: RedisClient;
  readonly #keys;
  readonly #writer = new OutRecordWriter();
  #task: Task | undefined;
  #number = 0;
  #last = 0;
  #lastOut = 0;

  constructor(client: RedisClient, prefix: string) {
    this.#client = client;
    this.#keys = partitionKeys(prefix, "toys", 0);
  }

  /** One commit. @param now by the server's clock; '': its own @param view of the key `v`; left out: none */
  async write(emits: readonly Emit[], now = "", view?: unknown): Promise<void> {
    this.#task ??= (await acquireTask(this.#client, this.#keys, "emitter", LEASE_MS, now)) as Task;
    const { epoch, run } = this.#task;
    const number = ++this.#number;
    const stream = { from: 1, last: this.#last };
    const record = this.#writer.encodeEmits(this.#last, 0, emits);
    const isViewed = view !== undefined;
    const out = isViewed
      ? this.#writer.encode(this.#lastOut, 0, [["toy.1", "v", view, undefined]], [], "viewedEmits")
      : undefined;
    const nothing = { states: [], timersSet: [], timersRemoved: [], deadLetters: [], resolvedDeadLetters: [] };
    const body = { ...nothing, watermarkMs: 0, events: 0, cursors: new Map(), out, emits: record };
    const task = { epoch, run, number, leaseMs: LEASE_MS, lastOut: this.#lastOut, emits: stream };
    await commitTask(this.#client, this.#keys, task, body, now);
    this.#last = number;
    if (isViewed) this.#lastOut = number;
  }
}

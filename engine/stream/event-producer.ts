/**
 * The calls of a forwarder to one partition of its target: an idempotent producer. The partition keeps, for each
 * source, a fence, the newest commit that it has taken, and marks of the newest ones. A call under an older fence is
 * refused, a commit that was taken is skipped. `resumeAfter` decides where to begin on a source that may have lost
 * commits.
 */
import { createHash } from "node:crypto";
import { EngineError, messageOf } from "../kernel/errors.js";
import { isSameRun, type Task } from "./commit.js";
import { callFunctionBuffer, type FunctionArgument } from "./functions.js";
import type { EventKeys } from "./keys.js";
import type { LogEntry } from "./log.js";
import type { RedisClient } from "./redis.js";
import type { ReplicationBarrier } from "./replication-barrier.js";

/** A commit with events that were taken. */
export interface Mark {
  commit: number;
  digest: Buffer;
}

/** What a partition of the target has taken from a source. */
export interface Taken {
  /** The newest commit; 0 for none. */
  last: number;
  /** The newest commits with events here, in ascending order. */
  marks: Mark[];
  /** Whether the partition may have lost events since a forwarder began to append there; also when none has. */
  mayLack: boolean;
  /** Commits with events here whose emits became dead letters all the same, in the order in which that was found. */
  overflowed: Mark[];
}

/** The packed events of one commit for one partition of the target, in order. */
export interface ForwardedCommit {
  commit: number;
  digest: Buffer;
  events: readonly Buffer[];
}

/** The packed events of one dead letter for one partition of the target, in order. */
export interface ReplayedDeadLetter {
  id: string;
  /** Of a dead letter of a whole entry: where the partition has its events, they are skipped. */
  entry?: Mark;
  events: readonly Buffer[];
}

const COMMIT_BYTES = 8;
const DIGEST_BYTES = 8;
/** The same as ENTRY_EVENTS in events.lua: a commit with more is passed in several parts of one call. */
const PART_EVENTS = 1_000;
/** Bytes of events in one call, unless a single commit has more: Redis serves nobody else meanwhile, some ms. */
const CALL_BYTES = 1024 * 1024;

/** Recognises the emits of a commit after its server may have lost it and used its number again. */
export function digestOf({ fields }: LogEntry): Buffer {
  const hash = createHash("sha1");
  for (const value of fields) hash.update(value);
  return hash.digest().subarray(0, DIGEST_BYTES);
}

/**
 * The newest commit up to which the target's events are those of the source's commits as they are now.
 * @param cursor up to this commit all is forwarded, by the source's own record
 * @param digests of the source's commits after the cursor, by number
 */
export function resumeAfter(
  { last, marks }: Omit<Taken, "overflowed">,
  cursor: number,
  digests: ReadonlyMap<number, Buffer>,
): number {
  if (last <= cursor) return last;
  let after = cursor;
  for (const { commit, digest } of marks) {
    if (commit <= cursor) continue;
    if (!digests.get(commit)?.equals(digest)) return after;
    after = commit;
  }
  return after;
}

export interface EventProducerOptions {
  redis: RedisClient;
  /** Calls return when enough replicas have the events; left out: when the primary has them. */
  replicas?: ReplicationBarrier;
  /** Of the target's partition. */
  keys: EventKeys;
  /** `<topic>/<partition>` of the emits. */
  source: string;
  /** The forwarder's lease at the source. */
  task: Pick<Task, "run" | "epoch">;
  /** The first argument of the functions. */
  clockArgument(): string;
}

export class EventProducer {
  readonly #options: EventProducerOptions;
  /** The run of the partition's server when it was opened. */
  #run = "";
  #overflowed: ReadonlySet<string> = new Set();

  constructor(options: EventProducerOptions) {
    this.#options = options;
  }

  /** Excludes all earlier forwarders of the source. @throws EngineError `stale_fence` when a later one is there */
  async open(): Promise<Taken> {
    const { keys, source, task } = this.#options;
    const reply = await this.#call("events_open_source", [keys.producers], [source, task.run, task.epoch]);
    const [last, marks, before, run, overflowed] = reply as [Buffer, Buffer, Buffer, Buffer, Buffer];
    this.#run = run.toString("latin1");
    const beganIn = before.toString("latin1");
    return {
      last: Number(last.toString("latin1")),
      marks: unpackMarks(marks),
      mayLack: beganIn === "" || !isSameRun(beganIn, this.#run),
      overflowed: unpackMarks(overflowed),
    };
  }

  /**
   * Sets the newest commit that counts as taken, and those with events here whose emits became dead letters; once,
   * before the first event. Throws as `forward`.
   */
  async begin(last: number, overflowed: readonly Mark[] = []): Promise<void> {
    const { keys, source, task } = this.#options;
    const args = [source, task.run, task.epoch, this.#run, last, packMarks(overflowed)];
    await this.#call("events_begin_source", [keys.producers], args);
    this.#overflowed = new Set(overflowed.map(markName));
  }

  /**
   * Appends the events of commits, in ascending order; those that were taken are skipped. May be repeated.
   * @throws EngineError `stale_fence` when another forwarder has taken over, `stale_run` when the server may have lost
   *   what it has taken, or an error of Redis
   */
  async forward(commits: readonly ForwardedCommit[]): Promise<void> {
    await this.#append(
      "events_forward",
      commits.map(({ commit, digest, events }) => ({ head: [commit, digest], events })),
    );
  }

  /** Appends the events of dead letters, each dead letter's once. Throws as `forward`. */
  async replay(deadLetters: readonly ReplayedDeadLetter[]): Promise<void> {
    const lacking = deadLetters.filter(({ entry }) => !entry || !this.#overflowed.has(markName(entry)));
    await this.#append(
      "events_replay",
      lacking.map(({ id, events }) => ({ head: [id], events })),
    );
  }

  /** One call at least: a server that has lost what it had taken reports it. */
  async #append(name: string, groups: readonly EventGroup[]): Promise<void> {
    const { keys, source, task, clockArgument } = this.#options;
    for (const args of callsOf(groups)) {
      const common = [clockArgument(), source, `${task.run} ${task.epoch} 1`, this.#run];
      await this.#call(name, [keys.head, keys.log, keys.producers], [...common, ...args]);
    }
  }

  async #call(name: string, keys: string[], args: FunctionArgument[]): Promise<unknown> {
    const { redis, replicas, source } = this.#options;
    try {
      return await (replicas?.call(name, keys, args) ?? callFunctionBuffer(redis, name, keys, args));
    } catch (cause) {
      if (cause instanceof EngineError) throw cause;
      const message = messageOf(cause);
      const code = REFUSALS.find(([beginning]) => message.startsWith(beginning))?.[1] ?? "unavailable";
      throw new EngineError(
        `${source} to ${keys[0]}: ${message}`,
        { op: "events.forward", code, retryable: true, input: source },
        { cause },
      );
    }
  }
}

function unpackMarks(packed: Buffer): Mark[] {
  const marks: Mark[] = [];
  for (let at = 0; at < packed.length; at += COMMIT_BYTES + DIGEST_BYTES) {
    const digest = packed.subarray(at + COMMIT_BYTES, at + COMMIT_BYTES + DIGEST_BYTES);
    marks.push({ commit: packed.readDoubleBE(at), digest });
  }
  return marks;
}

function packMarks(marks: readonly Mark[]): Buffer {
  const packed = Buffer.alloc(marks.length * (COMMIT_BYTES + DIGEST_BYTES));
  for (const [i, { commit, digest }] of marks.entries()) {
    const at = i * (COMMIT_BYTES + DIGEST_BYTES);
    packed.writeDoubleBE(commit, at);
    digest.copy(packed, at + COMMIT_BYTES);
  }
  return packed;
}

/** Names a commit and its content. */
export const markName = ({ commit, digest }: Mark): string => `${commit} ${digest.toString("hex")}`;

/** How an error of the functions begins, and its code. */
const REFUSALS: readonly [beginning: string, code: string][] = [
  ["STALE_FENCE", "stale_fence"],
  ["STALE_RUN", "stale_run"],
];

/** Events that are appended by one call, all or none, and the arguments before them. */
interface EventGroup {
  readonly head: readonly FunctionArgument[];
  readonly events: readonly Buffer[];
}

/** The arguments of each call: as many groups as there are in CALL_BYTES, at least one. */
function* callsOf(groups: readonly EventGroup[]): Generator<FunctionArgument[]> {
  let args: FunctionArgument[] = [];
  let bytes = 0;
  for (const { head, events } of groups) {
    if (bytes >= CALL_BYTES) {
      yield args;
      [args, bytes] = [[], 0];
    }
    for (let from = 0; from < events.length; from += PART_EVENTS) {
      const part = Buffer.concat(events.slice(from, from + PART_EVENTS));
      args.push(...head, Math.min(PART_EVENTS, events.length - from), part);
      bytes += part.length;
    }
  }
  yield args;
}

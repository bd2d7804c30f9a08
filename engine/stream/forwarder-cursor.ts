/**
 * How far a forwarder is in a partition's emits, and its commits, which also renew the lease. Dead letters of one entry
 * may be many: they are committed in parts, with the number of emits that have theirs, so that none comes twice when
 * the entry is read again.
 */
import type { Scheduler } from "../kernel/clock.js";
import { type CommitBody, commitWithRetries, renewTask } from "./commit.js";
import { countDeadLettersByKind, type DeadLetter, isDeadLetterLimitReached } from "./dead-letter.js";
import type { EmitEntry } from "./emits.js";
import type { ForwarderOptions, ForwarderStats } from "./forwarder-task.js";
import { GIVEN_UP_FIELD, GivenUpEntries } from "./given-up-entries.js";
import type { PartitionKeys } from "./keys.js";
import type { Lease } from "./leased-loop.js";
import { nowArgument } from "./server-clock.js";
import { EMIT_CURSOR, ENTRY_CURSOR } from "./sinks.js";

/** What the task of the partition shares with its cursor. */
export interface ForwarderCursorContext {
  /** The sink's. */
  readonly keys: PartitionKeys;
  readonly lease: Lease;
  readonly stats: ForwarderStats;
  /** Ends pauses and repetitions. */
  readonly signal: AbortSignal;
  report(message: string): void;
}

/**
 * Cursors of the sink's task: the last entry that was ever passed, and how many emits of the next one have their dead
 * letters. When entries are read again, because the target may have lost their events, their dead letters are already
 * there.
 */
const PASSED_CURSOR = "passed";
const PASSED_EMITS_CURSOR = "passedEmits";
/**
 * A cursor: the last entry that a forwarder has passed. What holds the bounds on waiting emits moves only the cursor of
 * all sinks: entries between the two were given up.
 */
const FORWARDED_CURSOR = "forwarded";
/** The cursor is committed at this interval; what was forwarded since is read again after a crash, and skipped. */
export const WRITE_EVERY_MS = 50;
/** Dead letters of one commit, and their bytes, unless one has more: Redis serves nobody else meanwhile. */
const PART_DEAD_LETTERS = 500;
const PART_BYTES = 1024 * 1024;
/** Characters of a dead letter's reason in a message. */
const REASON_SHOWN = 200;

/** Of a forwarder in the emits. */
interface Place {
  /** The last entry that is forwarded. */
  readonly position: number;
  /** The last entry that was ever passed, and how many emits of the next one have their dead letters. */
  readonly passed: number;
  readonly passedEmits: number;
}

export class ForwarderCursor {
  readonly #options: ForwarderOptions;
  readonly #context: ForwarderCursorContext;
  readonly #clock: Scheduler;
  #commit: number;
  #place: Place;
  #givenUp = new GivenUpEntries();
  /** The last entry that is committed. */
  #written: number;
  #writtenMs: number;
  #renewedMs: number;
  #isFull = false;

  constructor(options: ForwarderOptions, context: ForwarderCursorContext) {
    const { task, askedMs } = context.lease;
    const position = task.cursors.get(ENTRY_CURSOR) ?? 0;
    const passed = task.cursors.get(PASSED_CURSOR) ?? 0;
    this.#options = options;
    this.#context = context;
    this.#clock = options.clock;
    this.#commit = task.commit;
    this.#place =
      position > passed
        ? { position, passed: position, passedEmits: 0 }
        : { position, passed, passedEmits: task.cursors.get(PASSED_EMITS_CURSOR) ?? 0 };
    this.#written = position;
    this.#writtenMs = askedMs;
    this.#renewedMs = askedMs;
  }

  /** The last entry that is forwarded. */
  get position(): number {
    return this.#place.position;
  }

  /** The last entry that was ever passed. */
  get passed(): number {
    return this.#place.passed;
  }

  get hasUnwritten(): boolean {
    return this.#place.position > this.#written;
  }

  /** Whether so many dead letters are stored that nothing more is forwarded; at the last count. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** How many emits of an entry have their dead letters. */
  settledOf({ commit, previous }: EmitEntry): number {
    const { passed, passedEmits } = this.#place;
    if (commit <= passed) return Number.POSITIVE_INFINITY;
    return previous <= passed ? passedEmits : 0;
  }

  /** Whether an entry was given up, as last read: its emits are in dead letters. */
  isGivenUp(commit: number): boolean {
    return this.#givenUp.has(commit);
  }

  /** Reads which entries were given up; once, before `begin`. */
  async readGivenUp(): Promise<void> {
    const { keys, lease } = this.#context;
    const forwarded = lease.task.cursors.get(FORWARDED_CURSOR) ?? 0;
    const known = await GivenUpEntries.read(this.#options.redis, keys);
    const { position } = this.#place;
    this.#givenUp = position > forwarded ? known.with(forwarded, position) : known;
  }

  /** Begins at an entry, which may be an earlier one, and stores which were given up. Throws as `write`. */
  async begin(at: number): Promise<void> {
    const { position } = this.#place;
    const forwarded = this.#context.lease.task.cursors.get(FORWARDED_CURSOR) ?? 0;
    if (at === position && position <= forwarded) return;
    await this.#commitAt({ ...this.#place, position: at }, [], [], { [GIVEN_UP_FIELD]: this.#givenUp.text });
  }

  /**
   * Passes an entry that is forwarded, with its dead letters, in parts if they are many. It is passed as a whole, also
   * when there are too many then: a replay treats an entry that was given up as forwarded or not forwarded. Throws as
   * `write`.
   */
  async pass(entry: EmitEntry, deadLetters: readonly DeadLetter[]): Promise<void> {
    const parts = [...partsOf(deadLetters)];
    const last = parts.pop();
    for (const part of parts) {
      const position = Math.max(this.#place.position, this.#place.passed, entry.previous);
      await this.#commitAt({ position, passed: position, passedEmits: (part.at(-1)?.index ?? 0) + 1 }, part, []);
    }
    const { passed } = this.#place;
    const place =
      entry.commit > passed
        ? { position: entry.commit, passed: entry.commit, passedEmits: 0 }
        : { ...this.#place, position: entry.commit };
    // An entry counts as passed only with its dead letters: the commit at the end has none.
    if (last) await this.#commitAt(place, last, []);
    else this.#place = place;
  }

  async writeIfDue(): Promise<void> {
    if (this.hasUnwritten && this.#clock.now() - this.#writtenMs >= WRITE_EVERY_MS) await this.write([], []);
  }

  /**
   * Commits the position, with dead letters. If the result is unknown, again, until the lease may be lost.
   * @throws EngineError `stale_epoch`, `stale_run`, or an error of Redis
   */
  write(deadLetters: DeadLetter[], resolvedDeadLetters: string[]): Promise<void> {
    return this.#commitAt(this.#place, deadLetters, resolvedDeadLetters);
  }

  async #commitAt(
    place: Place,
    deadLetters: DeadLetter[],
    resolvedDeadLetters: string[],
    fields: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const { redis, serverClock, leaseMs } = this.#options;
    const { keys, lease, signal, stats, report } = this.#context;
    const { task } = lease;
    const { position, passed, passedEmits } = place;
    const body: CommitBody = {
      watermarkMs: task.watermarkMs,
      events: task.events,
      cursors: new Map([
        [ENTRY_CURSOR, position],
        // What holds the bounds on waiting emits leaves out those that have their dead letters.
        [EMIT_CURSOR, position === passed ? passedEmits : 0],
        [PASSED_CURSOR, passed],
        [PASSED_EMITS_CURSOR, passedEmits],
        [FORWARDED_CURSOR, position],
      ]),
      states: [],
      timersSet: [],
      timersRemoved: [],
      out: undefined,
      deadLetters,
      resolvedDeadLetters,
      fields,
    };
    const commit = { ...task, number: this.#commit + 1, leaseMs };
    const askedMs = await commitWithRetries(redis, keys, commit, body, {
      clock: this.#clock,
      serverClock,
      untilMs: this.#renewedMs + leaseMs,
      mayRepeat: () => !signal.aborted,
      signal,
    });
    this.#commit++;
    this.#place = place;
    this.#written = position;
    this.#writtenMs = this.#clock.now();
    this.#renewedMs = askedMs;
    const [first] = deadLetters;
    if (!first) return;
    stats.deadLetters += deadLetters.filter(({ was }) => was === undefined).length;
    await this.countDeadLetters();
    const more = deadLetters.length > 1 ? ` (and ${deadLetters.length - 1} more)` : "";
    report(`became a dead letter: entry ${first.offset}: ${first.reason.slice(0, REASON_SHOWN)}${more}`);
  }

  /** Those of emits that waited too long do not count: they make room for newer ones. */
  async countDeadLetters(): Promise<void> {
    const { ordinary } = await countDeadLettersByKind(this.#options.redis, this.#context.keys);
    this.#isFull = isDeadLetterLimitReached(ordinary);
  }

  /** Throws as `write`. */
  async renew(): Promise<void> {
    const { redis, serverClock, leaseMs } = this.#options;
    const askedMs = this.#clock.now();
    await renewTask(redis, this.#context.keys, this.#context.lease.task, leaseMs, nowArgument(serverClock));
    this.#renewedMs = askedMs;
  }

  /** Renews the lease when a third of its time is over. Returns whether it was. Throws as `write`. */
  async renewIfDue(): Promise<boolean> {
    if (this.#clock.now() - this.#renewedMs <= this.#options.leaseMs / 3) return false;
    await this.renew();
    return true;
  }
}

function* partsOf(deadLetters: readonly DeadLetter[]): Generator<DeadLetter[]> {
  let part: DeadLetter[] = [];
  let bytes = 0;
  for (const deadLetter of deadLetters) {
    if (part.length === PART_DEAD_LETTERS || bytes >= PART_BYTES) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(deadLetter);
    for (const { length } of deadLetter.fields) bytes += length;
  }
  if (part.length > 0) yield part;
}

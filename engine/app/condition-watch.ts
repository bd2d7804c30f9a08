/**
 * Watches the conditions of the engine that alerts are about: late orders, circuits, lag, dead letters, memory. Each
 * process that runs jobs reports what it sees to the topic `alerts`: when a condition changes, and again while it is
 * met, so that a process that has ended does not hold an alert open. The alert job joins the reports of all processes.
 * What cannot be appended is tried again at the next turn, and stops nothing.
 */
import { alertKeyOf } from "../alerting/alert.js";
import type { ConditionRule } from "../alerting/rules.js";
import { CONDITION_EVENT, type ConditionEvent } from "../jobs/alerts/events.js";
import { type Clock, MINUTE_MS } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { RepeatedTurns } from "../kernel/repeated-turns.js";
import type { NewEvent } from "../stream/event-entry.js";

/** A condition as it is now. */
export interface Condition {
  readonly subject: string;
  readonly isMet: boolean;
  readonly value: number;
  readonly limit: number;
}

/** Reads the conditions of one rule. A subject that is missing in the answer is not met any more. */
export interface ConditionReader {
  readonly rule: ConditionRule;
  /**
   * @param wasMet whether a subject's condition was met at the last turn, for a lower bound while it lasts
   * @returns undefined when it cannot be read now: what was reported stands
   */
  read(wasMet: (subject: string) => boolean): Promise<readonly Condition[] | undefined>;
}

export interface ConditionWatchOptions {
  readonly readers: readonly ConditionReader[];
  /** Names this process. */
  readonly reporter: string;
  append(events: readonly NewEvent[]): Promise<void>;
  /** The shop's time. */
  readonly clock: Clock;
  /** How many times faster than real time it runs. */
  speed(): number;
  readonly onTrouble: OnTrouble;
}

const EVERY_MS = 2_000;
/** While it is met, a condition is reported so often, by the shop's time. */
const REPORT_AGAIN_MS = MINUTE_MS;
/** A report is valid for three of these pauses, or for so many turns of this watch where the shop's time runs fast. */
const VALID_REPORTS = 3;
const VALID_TURNS = 5;
/** Of one rule: more subjects are left out. */
const MAX_SUBJECTS = 200;

/** A condition that is met, as it was reported last. */
interface Reported extends Condition {
  readonly rule: ConditionRule;
  readonly atMs: number;
}

export class ConditionWatch {
  readonly #options: ConditionWatchOptions;
  readonly #turns = new RepeatedTurns(() => this.turn(), EVERY_MS);
  /** By key. */
  readonly #met = new Map<string, Reported>();
  #isFailing = false;

  constructor(options: ConditionWatchOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#turns.start();
  }

  /** What it has reported stands until the reports are no longer valid: another process may see the same. */
  stop(): Promise<void> {
    return this.#turns.stop();
  }

  /** Reads all conditions once, and reports what has changed or is due again. Never rejects. */
  async turn(): Promise<void> {
    const { readers, append, clock, onTrouble } = this.#options;
    try {
      const found = await Promise.all(readers.map((reader) => this.#read(reader)));
      const nowMs = clock.now();
      const due = found.flat().filter((condition) => this.#isDue(condition, nowMs));
      if (due.length > 0) await append(due.map((condition) => this.#eventOf(condition, nowMs)));
      for (const condition of due) {
        const key = alertKeyOf(condition);
        if (condition.isMet) this.#met.set(key, { ...condition, atMs: nowMs });
        else this.#met.delete(key);
      }
      this.#isFailing = false;
    } catch (thrown) {
      // Once for each outage; other parts report it, too.
      if (!this.#isFailing) onTrouble(`conditions for alerts cannot be reported: ${messageOf(thrown)}`);
      this.#isFailing = true;
    }
  }

  /** The conditions of a rule, with those that are not met any more. */
  async #read({ rule, read }: ConditionReader): Promise<Reportable[]> {
    const present = await read((subject) => this.#met.has(alertKeyOf({ rule, subject }))).catch(() => undefined);
    const before = [...this.#met.values()].filter((reported) => reported.rule === rule);
    if (!present) return before;
    const gone = before
      .filter(({ subject }) => !present.some((condition) => condition.subject === subject))
      .map((reported) => ({ ...reported, isMet: false, value: 0 }));
    return [...gone, ...present.slice(0, MAX_SUBJECTS).map((condition) => ({ rule, ...condition }))];
  }

  #isDue(condition: Reportable, nowMs: number): boolean {
    const reported = this.#met.get(alertKeyOf(condition));
    if (!condition.isMet || !reported) return condition.isMet !== (reported !== undefined);
    // Also when the clock was set back.
    return Math.abs(nowMs - reported.atMs) >= REPORT_AGAIN_MS;
  }

  #eventOf({ rule, subject, isMet, value, limit }: Reportable, nowMs: number): NewEvent {
    const { reporter, speed } = this.#options;
    const validMs = Math.ceil(Math.max(VALID_REPORTS * REPORT_AGAIN_MS, VALID_TURNS * EVERY_MS * speed()));
    const payload: ConditionEvent = { rule, subject, reporter, isMet, value, limit, validMs };
    const key = alertKeyOf({ rule, subject });
    return { id: `${key}@${nowMs}`.slice(0, 256), key, kind: CONDITION_EVENT, payload };
  }
}

type Reportable = Condition & { readonly rule: ConditionRule };

/**
 * Alerts that fired when nobody could be reached: as soon as somebody can be (a phone is paired, an endpoint is
 * configured), they are routed again, so that who comes later is notified. Each process that runs jobs looks at its
 * view; nothing is read while every open alert has notified somebody. Reports of several processes are one: the job
 * routes only an alert that still nobody was notified of.
 */
import { alertKeyOf } from "../alerting/alert.js";
import type { AlertDirectory } from "../alerting/directory.js";
import { reachesAnybody } from "../alerting/routing.js";
import { REACHABLE_EVENT } from "../jobs/alerts/events.js";
import type { AlertRecord } from "../jobs/alerts/state.js";
import { stopwatch } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { RepeatedTurns } from "../kernel/repeated-turns.js";
import type { NewEvent } from "../stream/event-entry.js";

export interface UnnotifiedWatchOptions {
  /** Open alerts, the newest first. */
  open(): readonly AlertRecord[];
  readonly directory: AlertDirectory;
  /** To the topic `alerts`. */
  append(events: readonly NewEvent[]): Promise<void>;
  readonly onTrouble: OnTrouble;
  /** Milliseconds since it was made; left out: of the process's own clock. */
  readonly stopwatchOf?: () => () => number;
}

const EVERY_MS = 5_000;
/** The answer to its first routing may be under way. */
const FIRST_MS = 5_000;
/** Of one alert, if nobody was notified all the same. */
const AGAIN_MS = 60_000;
/** Of one turn, the newest first: the rest follows with the next turns. */
const MOST_ALERTS = 200;

export class UnnotifiedWatch {
  readonly #options: UnnotifiedWatchOptions;
  readonly #turns = new RepeatedTurns(() => this.turn(), EVERY_MS);
  /** By the id of an alert that nobody was notified of: when it is due, and how long it is known. */
  #known = new Map<string, { readonly ageMs: () => number; readonly dueMs: number }>();
  #isFailing = false;

  constructor(options: UnnotifiedWatchOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#turns.start();
  }

  stop(): Promise<void> {
    return this.#turns.stop();
  }

  /** Looks once. Never rejects. */
  async turn(): Promise<void> {
    const { open, directory, append, onTrouble, stopwatchOf = stopwatch } = this.#options;
    const unnotified = open().filter(isUnnotified);
    const before = this.#known;
    this.#known = new Map(
      unnotified.map(({ alert: { id } }) => [id, before.get(id) ?? { ageMs: stopwatchOf(), dueMs: FIRST_MS }]),
    );
    const due = unnotified
      .filter(({ alert }) => {
        const known = this.#known.get(alert.id);
        return known !== undefined && known.ageMs() >= known.dueMs;
      })
      .slice(0, MOST_ALERTS);
    if (due.length === 0) return;
    try {
      if (!reachesAnybody(await directory.read())) return;
      await append(due.map(({ alert }) => ({ ...eventOf(alert.id), key: alertKeyOf(alert) })));
      for (const { alert } of due) this.#known.set(alert.id, { ageMs: stopwatchOf(), dueMs: AGAIN_MS });
      this.#isFailing = false;
    } catch (thrown) {
      if (!this.#isFailing) onTrouble(`alerts that nobody was notified of wait: ${messageOf(thrown)}`);
      this.#isFailing = true;
    }
  }
}

const isUnnotified = ({ alert, recipients, silence, nextMs }: AlertRecord): boolean =>
  alert.state === "fired" && recipients.length === 0 && silence === undefined && nextMs === undefined;

const eventOf = (alertId: string): Pick<NewEvent, "id" | "kind" | "payload"> => ({
  id: `${alertId} ${REACHABLE_EVENT}`.slice(0, 256),
  kind: REACHABLE_EVENT,
  payload: {},
});

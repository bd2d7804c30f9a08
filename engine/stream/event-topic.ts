/**
 * Event topics: logs that are fed from inside, by an application, by schedules and by forwarders that make events from
 * another topic's emits. Ticks and forwarded events are appended once each, whoever calls and however often. Events of
 * `append` carry no such guarantee: a call whose result is unknown may have been applied. The log's clock never
 * decreases and proceeds without events, so windows end and timers fire. When the server's clock and this machine's
 * disagree, no schedule fires.
 */
import { type Clock, DAY_MS, DEFAULT_CLOCK_BOUND_MS, MINUTE_MS, systemClock } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import type { Zone } from "../kernel/zone.js";
import {
  ENTRY_EVENTS_LIMIT,
  encodeEvent,
  entryTimeMs,
  type NewEvent,
  onlyTopicEvent,
  TICK_KIND,
  type TickPayload,
  type TopicEvent,
  topicEventsOf,
} from "./event-entry.js";
import { callFunction, loadLibrary } from "./functions.js";
import { type EventKeys, eventKeys } from "./keys.js";
import type { LogEntry } from "./log.js";
import { partitionOf } from "./partition.js";
import type { RedisClient } from "./redis.js";
import type { ReplicationBarrier } from "./replication-barrier.js";
import type { Route } from "./route.js";
import { nextDueMs, type Schedule, type ScheduleState, type ScheduleStep, stepOf } from "./schedule.js";
import type { Topic } from "./topic.js";

export interface EventTopicOptions {
  /** At most 29 lower-case letters, digits and hyphens; no other topic's. */
  name: string;
  partitions: number;
  redis: RedisClient;
  prefix: string;
  /** Of daily schedules. */
  zone: Zone;
  /** Which emits of other topics become events of this one; `Forwarders` apply them. */
  routes?: readonly Route[];
  /** Each fires in the partition of its name. */
  schedules?: readonly Schedule[];
  /** `append` returns when enough replicas have the events; left out: when the primary has them. */
  replicas?: ReplicationBarrier;
  /** Left out: the Redis server's clock, one for all processes. Given (replay, demo): this one. */
  clock?: Clock;
  /** The server's clock must agree with this one within the bound; left out: this machine's clock, and 10 s. */
  wall?: Clock;
  clockBoundMs?: number;
  /** Reports problems that stop nothing. */
  onTrouble?: OnTrouble;
}

/** A schedule as its partition has stored it. */
export interface ScheduleOverview {
  name: string;
  partition: number;
  nextDueMs: number;
  /** The due time of the last tick; undefined before the first. */
  lastFiredMs: number | undefined;
  /** Due times without a tick, since the schedule exists. */
  missed: number;
  /** The clock was ahead and has been set back: nothing fires until the time that it had reached. */
  standsStill: boolean;
}

/** 29 characters, because `to-<name>` names a sink. */
const NAME = /^[a-z0-9][a-z0-9-]{0,28}$/;
const SCHEDULE_NAME = /^[a-z0-9][a-z0-9.-]{0,63}$/;
/** Windows end at least this often in a partition without events. */
const HEARTBEAT_MS = MINUTE_MS;
/** Events and bytes of one call: ten entries, so that one call does not keep other callers waiting for long. */
const APPEND_EVENTS_LIMIT = 10_000;
const APPEND_BYTES_LIMIT = 8 * 1024 * 1024;
/** How long after its due time a schedule that the definition does not have is deleted: upgrades take less. */
const UNDEFINED_KEPT_MS = 7 * DAY_MS;

/** Loads the function library into Redis; call once before the first event. */
export const loadEventsLibrary = (redis: RedisClient): Promise<void> =>
  loadLibrary(redis, new URL("./events.lua", import.meta.url));

/** @throws EngineError `bad_input` when a name is not valid or occurs twice */
export const eventTopic = (options: EventTopicOptions): EventTopic => new EventTopic(options);

export class EventTopic implements Topic<TopicEvent> {
  readonly name: string;
  readonly partitions: number;
  readonly routes: readonly Route[];
  readonly schedules: readonly Schedule[];
  readonly decode = topicEventsOf;
  readonly timeOf = (entry: LogEntry): number => entryTimeMs(entry);
  readonly only = onlyTopicEvent;
  readonly #options: EventTopicOptions;
  readonly #keys: EventKeys[];

  constructor(options: EventTopicOptions) {
    const { name, partitions, prefix, routes = [], schedules = [] } = options;
    if (!NAME.test(name))
      throw badInput("events.topic", name, "a topic's name is at most 29 lower-case letters, digits, hyphens");
    for (const [i, schedule] of schedules.entries()) {
      const place = `schedules of ${name}`;
      if (!SCHEDULE_NAME.test(schedule.name))
        throw badInput("events.topic", place, `"${schedule.name}" is not lower-case letters, digits, dots, hyphens`);
      if (schedules.findIndex((other) => other.name === schedule.name) < i)
        throw badInput("events.topic", place, `"${schedule.name}" occurs twice`);
    }
    this.name = name;
    this.partitions = partitions;
    this.routes = routes;
    this.schedules = schedules;
    this.#options = options;
    this.#keys = Array.from({ length: partitions }, (_, partition) => eventKeys(prefix, name, partition));
  }

  /**
   * Appends events, those of one partition all or none and in the order given. Not idempotent: after an error they may
   * have been appended.
   * @throws EngineError `bad_input` for an event that is not valid or too many of them; then nothing is appended
   */
  async append(events: readonly NewEvent[]): Promise<void> {
    if (events.length > APPEND_EVENTS_LIMIT)
      throw badInput("events.append", "events", `${events.length} in one call, more than ${APPEND_EVENTS_LIMIT}`);
    const parts = new Map<number, Buffer[]>();
    let bytes = 0;
    for (const event of events) {
      const packed = encodeEvent(event);
      const partition = partitionOf(event.key, this.partitions);
      const part = parts.get(partition) ?? [];
      parts.set(partition, part);
      part.push(packed);
      bytes += packed.length;
    }
    if (bytes > APPEND_BYTES_LIMIT)
      throw badInput("events.append", "events", `${bytes} bytes in one call, more than ${APPEND_BYTES_LIMIT}`);
    await Promise.all([...parts].map(([partition, packed]) => this.#append(partition, packed)));
  }

  /** Moves the clock of a partition, and fires its schedules that are due. Safe to repeat. */
  async tick(partition: number): Promise<void> {
    const keys = this.#keysOf(partition);
    const [, now, agree, ...flat] = (await callFunction(
      this.#options.redis,
      "events_tick",
      [keys.head, keys.log, keys.timers, keys.schedules],
      [this.clockArgument(), HEARTBEAT_MS],
    )) as [string, string, string, ...string[]];
    if (agree !== "1") return;
    const stored = new Map<string, string>();
    for (let i = 0; i < flat.length; i += 2) stored.set(flat[i] as string, flat[i + 1] as string);
    for (const schedule of this.schedules) {
      if (partitionOf(schedule.name, this.partitions) !== partition) continue;
      const text = stored.get(schedule.name) ?? "";
      stored.delete(schedule.name);
      const step = stepOf(schedule, this.#options.zone, this.#stateOf(schedule.name, text), Number(now));
      if (step) await this.#fire(keys, schedule.name, text, JSON.stringify(step.state), step);
    }
    // Schedules that the definition does not have. In a rolling upgrade they may be those of a newer one.
    for (const [name, text] of stored) {
      const state = this.#stateOf(name, text);
      if (!state || Number(now) - state.dueMs > UNDEFINED_KEPT_MS) await this.#fire(keys, name, text, "");
    }
  }

  /** The schedules as they are stored; those that no partition's owner has stored yet are left out. */
  async scheduleOverview(): Promise<ScheduleOverview[]> {
    const { redis, zone, clock, wall = systemClock } = this.#options;
    const nowMs = (clock ?? wall).now();
    const all = await Promise.all(
      this.schedules.map(async ({ name, due }): Promise<ScheduleOverview[]> => {
        const partition = partitionOf(name, this.partitions);
        const state = this.#stateOf(name, (await redis.hget(this.#keysOf(partition).schedules, name)) ?? "");
        if (!state) return [];
        const { dueMs, firedMs, missedInAll } = state;
        const standsStill = dueMs > nextDueMs(due, nowMs + DEFAULT_CLOCK_BOUND_MS, zone);
        return [{ name, partition, nextDueMs: dueMs, lastFiredMs: firedMs, missed: missedInAll, standsStill }];
      }),
    );
    return all.flat();
  }

  /** The first argument of each function: see `time_of` in server-time.lua. */
  clockArgument(): string {
    const { clock, wall = systemClock, clockBoundMs = DEFAULT_CLOCK_BOUND_MS } = this.#options;
    return clock ? String(clock.now()) : `~${wall.now()},${clockBoundMs}`;
  }

  async #append(partition: number, packed: readonly Buffer[]): Promise<void> {
    const { redis, replicas } = this.#options;
    const { head, log } = this.#keysOf(partition);
    const args: (string | number | Buffer)[] = [this.clockArgument()];
    for (let from = 0; from < packed.length; from += ENTRY_EVENTS_LIMIT) {
      const entry = packed.slice(from, from + ENTRY_EVENTS_LIMIT);
      args.push(entry.length, Buffer.concat(entry));
    }
    await (replicas?.call("events_append", [head, log], args) ??
      callFunction(redis, "events_append", [head, log], args));
  }

  async #fire(keys: EventKeys, name: string, from: string, to: string, step?: ScheduleStep): Promise<void> {
    const { ticks = [], validBeforeMs = Number.POSITIVE_INFINITY } = step ?? {};
    const events = ticks.map(({ dueMs, missed }) =>
      encodeEvent({
        id: `${name}@${new Date(dueMs).toISOString()}`,
        key: name,
        kind: TICK_KIND,
        atMs: dueMs,
        payload: { name, dueMs, missed } satisfies TickPayload,
      }),
    );
    const lastMs = ticks.at(-1)?.dueMs ?? 0;
    await callFunction(
      this.#options.redis,
      "events_fire",
      [keys.head, keys.log, keys.schedules],
      [this.clockArgument(), name, from, to, lastMs, validBeforeMs, ticks.length, Buffer.concat(events)],
    );
  }

  /** The stored state of a schedule; one that cannot be read is reported and counts as none. */
  #stateOf(name: string, text: string): ScheduleState | undefined {
    if (text === "") return undefined;
    try {
      const state = JSON.parse(text) as ScheduleState;
      const numbers = [state.dueMs, state.missed, state.missedInAll, state.firedMs ?? 0];
      if (typeof state.definition === "string" && numbers.every(Number.isSafeInteger)) return state;
    } catch {
      // Reported below.
    }
    this.#options.onTrouble?.(`schedule ${name}: its stored state cannot be read; it begins anew`, {
      topic: this.name,
    });
    return undefined;
  }

  #keysOf(partition: number): EventKeys {
    const keys = this.#keys[partition];
    if (!keys) throw badInput("events", this.name, `no partition ${partition}`);
    return keys;
  }
}

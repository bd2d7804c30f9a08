/**
 * The form of an entry in the log of an event topic: `n` how many events the log has held with it, `t` its time, `b`
 * its events, msgpack lists one after the other. An entry with anything that this version does not write is refused as
 * a whole; fields whose names begin with `+` are a later release's and are ignored.
 */
import { Packr, Unpackr } from "msgpackr";
import { badInput } from "../kernel/errors.js";
import type { LogEvent } from "./job.js";
import { field, type LogEntry } from "./log.js";

/** An event of an event topic. */
export interface TopicEvent extends LogEvent {
  readonly id: string;
  /** Decides the partition. */
  readonly key: string;
  readonly kind: string;
  readonly payload: unknown;
}

/** An event to be appended. */
export interface NewEvent {
  /** Names it for readers; the topic does not compare ids. */
  id: string;
  key: string;
  kind: string;
  /** Plain data: what msgpack holds. */
  payload: unknown;
  /** When it happened; left out: when it is appended. */
  atMs?: number;
}

/** The payload of a schedule's tick; its kind is `tick` and its key the schedule's name. */
export interface TickPayload {
  name: string;
  dueMs: number;
  /** Due times before it, since the last tick, for which there is none. */
  missed: number;
}

export const TICK_KIND = "tick";
/** One entry is one unit of reading and processing: a few ms of work. */
export const ENTRY_EVENTS_LIMIT = 1_000;
/** An entry is at most 64 MB with it; ordinary events are references and figures of some hundred bytes. */
const PAYLOAD_BYTES_LIMIT = 64 * 1024;
const TEXT_LIMIT = 256;
/** Control characters separate the parts of keys in Redis. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is rejected
const CONTROL = /[\u0000-\u001f]/;
const FIELDS = ["n", "t", "b"];
const EVENT_PARTS = 5;

type PackedEvent = [id: string, key: string, kind: string, atMs: number | null, payload: unknown];

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** Stands for an event that was left out, so that the others keep their index. */
const LEFT_OUT = packr.pack([]);

/**
 * Packs an event.
 * @throws EngineError `bad_input` when a text is empty, too long or has control characters, or the payload is too large
 */
export function encodeEvent({ id, key, kind, payload, atMs }: NewEvent): Buffer {
  for (const [name, text] of Object.entries({ id, key, kind }))
    if (typeof text !== "string" || text === "" || text.length > TEXT_LIMIT || CONTROL.test(text))
      throw badInput("events.append", name, `expected 1 to ${TEXT_LIMIT} characters without control characters`);
  if (atMs !== undefined && !(Number.isSafeInteger(atMs) && atMs >= 0))
    throw badInput("events.append", "atMs", "expected milliseconds since 1970");
  // Packed in its own: its size is what is limited.
  const packed = packr.pack(payload ?? null);
  if (packed.length > PAYLOAD_BYTES_LIMIT)
    throw badInput(
      "events.append",
      "payload",
      `that of ${id} has ${packed.length} bytes, more than ${PAYLOAD_BYTES_LIMIT}`,
    );
  const whole = packr.pack([id, key, kind, atMs ?? null, null] satisfies PackedEvent);
  // The last byte is the nil that stands for the payload.
  return Buffer.concat([whole.subarray(0, whole.length - 1), packed]);
}

/**
 * The events of an entry.
 * @throws Error with the reason when it cannot be read
 */
export function topicEventsOf(entry: LogEntry): { clockMs: number; total: number; events: TopicEvent[] } {
  for (let i = 0; i < entry.fields.length; i += 2) {
    const name = (entry.fields[i] as Buffer).toString("latin1");
    if (!FIELDS.includes(name) && !name.startsWith("+")) throw new Error(`unknown field ${name}`);
  }
  const clockMs = entryTimeMs(entry);
  const total = Number(textOf(entry, "n"));
  if (!Number.isSafeInteger(total)) throw new Error("the entry has no number of events");
  const lists = listsOf(entry);
  if (lists.length > ENTRY_EVENTS_LIMIT) throw new Error(`${lists.length} events in one entry`);
  return { clockMs, total, events: lists.map((list, index) => eventOf(list, entry.offset, index, clockMs)) };
}

/** The fields of an entry with one event at its index. */
export function onlyTopicEvent(entry: LogEntry, index: number): Buffer[] {
  const kept = [...new Array<Buffer>(index).fill(LEFT_OUT), packr.pack(listsOf(entry)[index])];
  return entry.fields.map((value, i) =>
    i % 2 === 1 && (entry.fields[i - 1] as Buffer).toString("latin1") === "b" ? Buffer.concat(kept) : value,
  );
}

/** When an entry was appended. @throws Error when it has no time */
export function entryTimeMs(entry: LogEntry): number {
  const timeMs = Number(textOf(entry, "t"));
  if (Number.isSafeInteger(timeMs) && timeMs > 0) return timeMs;
  throw new Error("the entry has no time");
}

function listsOf(entry: LogEntry): unknown[] {
  const packed = field(entry, "b");
  if (!packed) throw new Error("the entry has no field b");
  return packed.length === 0 ? [] : (unpackr.unpackMultiple(packed) as unknown[]);
}

function eventOf(list: unknown, offset: number, index: number, clockMs: number): TopicEvent {
  const place = { offset, index, clockMs };
  if (Array.isArray(list) && list.length === 0)
    return { ...place, atMs: clockMs, id: "", key: "", kind: "", payload: null };
  if (!Array.isArray(list) || list.length !== EVENT_PARTS) throw new Error(`event ${index} is not a list of five`);
  const [id, key, kind, atMs, payload] = list as PackedEvent;
  if (![id, key, kind].every((text) => typeof text === "string") || !(atMs === null || Number.isSafeInteger(atMs)))
    throw new Error(`event ${index} has parts of another type`);
  return { ...place, atMs: atMs ?? clockMs, id, key, kind, payload };
}

const textOf = (entry: LogEntry, name: string): string | undefined => field(entry, name)?.toString("latin1");

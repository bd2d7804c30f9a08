/**
 * The plan of a simulated shop: its size, its timings, its jobs and what its clients do. In a `free` shop several
 * clients act at once and the server's clock is the simulation's. In a `fixed` shop one client sends a list of
 * commands at given times. In a `scripted` shop one client follows a script.
 */
import { stockJobs } from "../../engine/jobs/index.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { zoneOf } from "../../engine/kernel/zone.js";
import type { WithdrawalResult } from "../../engine/orders/model.js";
import type { StockCommand, StockEvent } from "../../engine/stock/model.js";
import type { AnyJob, Job } from "../../engine/stream/job.js";
import { CommandStream } from "./commands.js";

export const START_MS = Date.UTC(2026, 5, 17, 15, 58);
export const RETENTION_DAYS = 3;
const ZONE = zoneOf("Asia/Shanghai");

/** The size, the timings and the faults of a simulated shop. */
export interface Plan {
  /** `scripted`: the one client follows the script. */
  kind: "free" | "fixed" | "scripted";
  script?: Script;
  partitions: number;
  workers: number;
  services: number;
  clients: number;
  /** Actions of each client. */
  turns: number;
  leaseMs: number;
  tickMs: number;
  timeoutMs: number;
  /** How long a client waits for an answer before it repeats its request. */
  clientTimeoutMs: number;
  /** The longest pause between two turns of a client. */
  pauseMs: number;
  retentionMs: number;
  hasPoison: boolean;
  /** Whether Redis may restart without its newest writes. Answers given before that are then not checked. */
  losesWrites: boolean;
  /** Whether paid orders go to a warehouse, which has to confirm a cancellation. */
  hasWarehouse?: boolean;
}

/** The actions of one client, in order. */
export type Script = (client: ScriptedClient) => Promise<void>;

/** The actions that a script can take: each call repeats its request until it is answered. */
export interface ScriptedClient {
  receive(sku: string, units: number): Promise<void>;
  /** Places an order with these units of each SKU. */
  place(units: Readonly<Record<string, number>>, holdMs?: number): Promise<string>;
  placeAgain(id: string): Promise<boolean>;
  pay(id: string): Promise<boolean>;
  /** Lines by number from 1; all lines if omitted. */
  cancel(id: string, lines?: readonly number[]): Promise<boolean>;
  outbound(id: string, lines?: readonly number[]): Promise<boolean>;
  /** Reports the warehouse's answer to a cancellation. */
  settle(id: string, result: WithdrawalResult): Promise<boolean>;
  /** Opens a breaker for a SKU, which refuses new orders of it for this time. */
  refuse(sku: string, forMs: number): Promise<void>;
  wait(ms: number): Promise<void>;
}

/** One action of the client of a `fixed` shop at a given time; without a command it only advances the time. */
export interface FixedTurn {
  atMs: number;
  command: StockCommand | undefined;
}

/** The turns of a `fixed` shop, from its seed. */
export function fixedTurns(seed: number, count: number): FixedTurn[] {
  const random = seededRandom(seed);
  const commands = new CommandStream(random, START_MS, RETENTION_DAYS);
  let atMs = START_MS;
  return Array.from({ length: count }, () => {
    atMs += random.pick([0, 1, 400, 400, 5_000, 60_000, 700_000]);
    return { atMs, command: random.below(8) === 0 ? undefined : commands.take(1)[0] };
  });
}

interface BusyState {
  events: number;
  units: number;
  fired: number;
  again: number;
}

/** A job that emits on every event, sets its timers again, and clears keys. */
const busyJob: Job<StockEvent, BusyState> = {
  name: "busy.1",
  key: (event) => event.sku || undefined,
  initial: () => ({ events: 0, units: 0, fired: 0, again: 0 }),
  onEvent(state, event, context) {
    state.events++;
    state.units += event.units;
    state.again = state.events % 3;
    context.emit("event", { events: state.events, units: state.units, type: event.type, of: event.id });
    context.setTimer(event.clockMs + 1 + ((event.offset * 37) % 9_000));
  },
  onTimer(state, atMs, context) {
    state.fired++;
    context.emit("timer", { fired: state.fired, atMs });
    if (state.again-- > 0) context.setTimer(atMs + 700);
    // Sometimes after the last timer.
    else if (state.events % 4 === 1) context.clear();
  },
};

/** A job that fails on some events and some timers. Its changes before the error must be undone. */
const failingJob: Job<StockEvent, { events: number }> = {
  name: "failing.1",
  key: (event) => event.location || undefined,
  initial: () => ({ events: 0 }),
  onEvent(state, event, context) {
    state.events++;
    context.emit("event", { events: state.events });
    context.setTimer(event.clockMs + 2_000);
    if (state.events % 11 === 10) context.clear();
    if ((event.offset + event.index) % 7 === 3) throw new Error("bad event");
  },
  onTimer(state, atMs, context) {
    context.emit("timer", { atMs });
    if (state.events % 5 === 2) throw new Error("bad timer");
  },
};

export const jobsOf = (plan: Plan): readonly AnyJob<StockEvent>[] => [
  ...stockJobs(ZONE),
  busyJob,
  ...(plan.hasPoison ? [failingJob] : []),
];

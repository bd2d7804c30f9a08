/**
 * Plans for two topics under faults: sizes, timings and the source of faults, all from the seed. Some plans inject
 * faults at random. Each of the others aims at one of the ways in which an event could be lost or come twice: the
 * calls of which that would take several in the right order are too rare for random faults.
 */
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { FAULTS, type FaultKind, type FaultSource, LATE_FIRST, type Operation } from "./faulty-redis.js";

/** What the faults of a run aim at. */
export const AIMS = [
  "anything",
  // A forwarder's call arrives after its source has lost those commits and while a later one uses their numbers again.
  "late forwarder",
  // The source loses commits that were forwarded.
  "source",
  // The target loses events that the cursor has passed.
  "target",
  // Ticks of a schedule are appended again, at once or late.
  "ticks",
] as const;
export type Aim = (typeof AIMS)[number];

export interface ForwardingPlan {
  aim: Aim;
  servers: 1 | 2;
  partitions: number;
  workers: number;
  leaseMs: number;
  tickMs: number;
  timeoutMs: number;
  /** How often events are appended to the source, and the longest pause between. */
  appends: number;
  pauseMs: number;
  /** The longest time during which all processes are away; 0: they never are. */
  outageMs: number;
  losesWrites: boolean;
  /** Whose newest writes a fault loses, where there are two servers. */
  loser: "any" | "source" | "target";
  /** A server loses the writes of at most this number of steps. */
  saveSteps: number;
}

/** The plan of a seed; its aim is that of the number modulo their count. */
export function planOf(seed: number): ForwardingPlan {
  const aim = AIMS[seed % AIMS.length] as Aim;
  const random = seededRandom(seed);
  const leaseMs = random.pick([3_000, 10_000]);
  const plan: ForwardingPlan = {
    aim,
    servers: random.pick([1, 2]),
    partitions: random.pick([1, 1, 2]),
    workers: random.pick([1, 2, 2]),
    leaseMs,
    tickMs: leaseMs * random.pick([0.5, 1]),
    timeoutMs: leaseMs * random.pick([0.2, 1, 2]),
    appends: 16,
    pauseMs: random.pick([100, 1_000, 6_000]),
    outageMs: random.pick([0, 30_000, 300_000]),
    losesWrites: random.below(3) > 0,
    loser: "any",
    saveSteps: random.pick([60, 250]),
  };
  if (aim === "anything") return plan;
  if (aim === "ticks") return { ...plan, pauseMs: 6_000, outageMs: 300_000 };
  const loser = aim === "target" ? "target" : "source";
  const losing: ForwardingPlan = { ...plan, servers: 2, outageMs: 0, losesWrites: true, loser, saveSteps: 250 };
  if (aim !== "late forwarder") return losing;
  // The next forwarder begins, and new events come, before the late call is due.
  return { ...losing, leaseMs: 3_000, tickMs: 1_500, timeoutMs: 600, pauseMs: 1_000 };
}

/** Reads and heartbeats are many and their faults are alike: they get fewer faults. */
const RARELY_FAULTED = new Set(["xread", "workers_join", "events_tick", "time", "hget"]);
const LOSS = "newest writes lost" satisfies FaultKind;
/** One fault in this number is a loss, where there are any: few of them lose what was forwarded. */
const LOSS_SHARE = 4;
/** The most random faults of one run, so that every run ends. */
const MOST_FAULTS = 40;
/** The same of faults that aim: what follows each takes some hundred calls. */
const MOST_AIMED = 3;
/** The rate of random faults beside those that aim. */
const BESIDE_RATE = 0.005;

export function faultsOf(seed: number, plan: ForwardingPlan): FaultSource {
  const random = seededRandom(seed ^ 0xfa17);
  const isAimed = plan.aim !== "anything";
  const aimed = AIMED[plan.aim](random);
  const anything = randomFaults(random, plan, isAimed ? BESIDE_RATE : random.pick([0.01, 0.03, 0.1, 0.25]));
  return (operation, number) => aimed(operation, number) ?? anything(operation, number);
}

function randomFaults(random: Random, { losesWrites }: ForwardingPlan, rate: number): FaultSource {
  let struck = 0;
  return ({ name }) => {
    if (struck >= MOST_FAULTS || random.next() > (RARELY_FAULTED.has(name) ? rate / 5 : rate)) return undefined;
    const fault = losesWrites && random.below(LOSS_SHARE) === 0 ? LOSS : random.pick(FAULTS);
    if (fault === LOSS && !losesWrites) return undefined;
    struck++;
    return fault;
  };
}

const AIMED: Readonly<Record<Aim, (random: Random) => FaultSource>> = {
  anything: () => () => undefined,
  "late forwarder": lateForwarder,
  source: (random) => lossAfter(random, (operation) => forwardedBy(operation) !== undefined),
  target: (random) => lossAfter(random, ({ name, args }) => name === "task_commit" && /:to-/.test(keyOf(args))),
  ticks: repeatedTicks,
};

/**
 * Puts a forwarder's call off, lets the source lose the commits in it, and executes it before the next forwarder passes
 * on other commits of these numbers.
 */
function lateForwarder(random: Random): FaultSource {
  let struck = 0;
  let late: Forwarded | undefined;
  let isLossDue = false;
  return (operation) => {
    if (isLossDue) {
      isLossDue = false;
      return LOSS;
    }
    const forwarded = forwardedBy(operation);
    if (!forwarded) return undefined;
    if (late) {
      const { source, fence, last } = late;
      if (forwarded.source !== source || forwarded.fence === fence) return undefined;
      late = undefined;
      if (forwarded.first <= last) return LATE_FIRST;
    }
    if (struck >= MOST_AIMED || random.below(2) === 0) return undefined;
    struck++;
    late = forwarded;
    isLossDue = true;
    return "late";
  };
}

/** A server loses its newest writes at one of the calls that follow a certain one. */
function lossAfter(random: Random, isAfter: (operation: Operation) => boolean): FaultSource {
  let struck = 0;
  let callsLeft: number | undefined;
  return (operation) => {
    if (callsLeft === undefined) {
      if (struck < MOST_AIMED && isAfter(operation) && random.below(3) > 0) callsLeft = 1 + random.below(6);
      return undefined;
    }
    if (--callsLeft > 0) return undefined;
    callsLeft = undefined;
    struck++;
    return LOSS;
  };
}

function repeatedTicks(random: Random): FaultSource {
  return ({ name, args }) => {
    const isTick = name === "events_fire" && Number((args[3] as unknown[])[6]) > 0;
    if (!isTick || random.below(3) === 0) return undefined;
    return random.pick(["twice", "late", "reply lost"]);
  };
}

/** The commits in a call of a forwarder. */
interface Forwarded {
  source: string;
  fence: string;
  first: number;
  last: number;
}

/** What a call forwards; undefined when that is nothing. */
function forwardedBy({ name, args }: Operation): Forwarded | undefined {
  if (name !== "events_forward") return undefined;
  const [, source, fence, , ...commits] = args[3] as unknown[];
  if (commits.length === 0) return undefined;
  return { source: String(source), fence: String(fence), first: Number(commits[0]), last: Number(commits.at(-4)) };
}

const keyOf = (args: readonly unknown[]): string => String((args[2] as unknown[])[0]);

/**
 * The feed `engine`: the shop's clock, and the engine's rates and lag. A change of a figure is sent on the next tick;
 * without one the shop's time is sent once a second. Rates are means, so they do not show single bursts.
 */
import { type Feed, wholeState } from "../feed.js";

/** The engine as a whole. Rates are per real second. */
export interface EngineBody {
  /** IANA name of the shop's time zone. */
  zone: string;
  /** The shop's time, in ms; in the demo it runs faster than real time. */
  nowMs: number;
  /** How many seconds of the shop's time pass in one second. */
  speed: number;
  /** A second, mean of the last 5 s: commands decided for this process, events that its jobs have committed. */
  commandsPerSecond: number;
  eventsPerSecond: number;
  /**
   * Log entries that the jobs have not committed yet, over all partitions, and the age of the oldest (ms of real
   * time).
   */
  lagEntries: number;
  lagMs: number;
  /** What the demo is doing now, for example `rush`; null in production. */
  scene: string | null;
}

export interface EngineSource {
  /** The present figures; fractions are rounded by the feed. */
  engine(): EngineBody;
}

/** How often the shop's time is sent when nothing else has changed. A page's clock runs on in between. */
const CLOCK_MS = 1_000;

export const engineFeed = (source: EngineSource): Feed => ({
  name: "engine",
  role: "read",
  open: () =>
    wholeState(() => rounded(source.engine()), {
      significant: ({ nowMs: _, ...figures }) => figures,
      atLeastEveryMs: CLOCK_MS,
    }),
});

const rounded = (engine: EngineBody): EngineBody => ({
  ...engine,
  nowMs: Math.floor(engine.nowMs),
  commandsPerSecond: Math.round(engine.commandsPerSecond),
  eventsPerSecond: Math.round(engine.eventsPerSecond),
  lagMs: Math.round(engine.lagMs),
});

/**
 * Depletion and storefront as a next release might change them, twice: each version stores the same figures in a
 * state of another shape and upgrades every older one. The storefront's third version also adds a field to its view.
 */
import { PRODUCT_TABLES, type Tables } from "../../engine/app/tables.js";
import { type DepletionState, depletionJob } from "../../engine/jobs/depletion/job.js";
import { DepletionView } from "../../engine/jobs/depletion/view.js";
import { JOBS } from "../../engine/jobs/index.js";
import { type StorefrontState, storefrontJob } from "../../engine/jobs/storefront/job.js";
import { StorefrontView } from "../../engine/jobs/storefront/view.js";
import type { Zone } from "../../engine/kernel/zone.js";
import { type Balances, POOLS, type StockEvent } from "../../engine/stock/model.js";
import type { AnyJob, Job, LogEvent } from "../../engine/stream/job.js";

export type Version = 1 | 2 | 3;

/** One shape of a state: to and from that of version 1. */
interface Shape<First, Own> {
  to(state: First): Own;
  from(own: Own): First;
}

interface SecondDepletion {
  window: [minute: number, units: number][];
  sold: [day: number, units: number][];
  rest: Pick<DepletionState, "firstDay" | "alert" | "fired" | "settings">;
}

interface ThirdDepletion {
  minutes: number[];
  units: number[];
  days: string;
  first: number | null;
  alerts: Pick<DepletionState, "alert" | "fired">;
  settings: DepletionState["settings"];
}

interface SecondStorefront {
  cells: [location: string, units: number[]][];
  settings: StorefrontState["settings"];
}

interface ThirdStorefront {
  places: string[];
  units: number[];
  own: StorefrontState["settings"];
}

const pairsOf = (flat: readonly number[]): [number, number][] =>
  Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] as number, flat[2 * i + 1] as number]);
const unitsOf = (balances: Balances): number[] => POOLS.map((pool) => balances[pool]);
const balancesOf = (units: readonly number[]): Balances =>
  Object.fromEntries(POOLS.map((pool, i) => [pool, units[i] as number])) as unknown as Balances;

const secondDepletion: Shape<DepletionState, SecondDepletion> = {
  to: ({ panes, days, ...rest }) => ({ window: pairsOf(panes), sold: pairsOf(days), rest }),
  from: ({ window, sold, rest }) => ({ panes: window.flat(), days: sold.flat(), ...rest }),
};
const thirdDepletion: Shape<DepletionState, ThirdDepletion> = {
  to: ({ panes, days, firstDay, alert, fired, settings }) => ({
    minutes: pairsOf(panes).map(([minute]) => minute),
    units: pairsOf(panes).map(([, units]) => units),
    days: days.join(" "),
    first: firstDay,
    alerts: { alert, fired },
    settings,
  }),
  from: ({ minutes, units, days, first, alerts: { alert, fired }, settings }) => ({
    panes: minutes.flatMap((minute, i) => [minute, units[i] as number]),
    days: days === "" ? [] : days.split(" ").map(Number),
    firstDay: first,
    alert,
    fired,
    settings,
  }),
};
const secondStorefront: Shape<StorefrontState, SecondStorefront> = {
  to: ({ locations, settings }) => ({ cells: locations.map(([at, balances]) => [at, unitsOf(balances)]), settings }),
  from: ({ cells, settings }) => ({ locations: cells.map(([at, units]) => [at, balancesOf(units)]), settings }),
};
const thirdStorefront: Shape<StorefrontState, ThirdStorefront> = {
  to: ({ locations, settings }) => ({
    places: locations.map(([at]) => at),
    units: locations.flatMap(([, balances]) => unitsOf(balances)),
    own: settings,
  }),
  from: ({ places, units, own }) => ({
    locations: places.map((at, i) => [at, balancesOf(units.slice(i * POOLS.length, (i + 1) * POOLS.length))]),
    settings: own,
  }),
};

/** A job whose states have another shape; everything else is the first version's. */
function reshaped<First, Own extends object>(
  job: Job<StockEvent, First>,
  version: Version,
  shape: Shape<First, Own>,
  upgrade: (old: unknown, from: number) => First,
): Job<StockEvent, Own> {
  const { name, view, onTimer, closings } = job;
  return {
    name,
    version,
    upgrade: (old, from) => shape.to(upgrade(old, from)),
    ...(closings && { closings }),
    ...(job.viewedEmits && { viewedEmits: job.viewedEmits }),
    key: (event) => job.key(event),
    initial: (key) => shape.to(job.initial(key)),
    onEvent(state, event, context) {
      const first = shape.from(state);
      job.onEvent(first, event, context);
      Object.assign(state, shape.to(first));
    },
    onTimer(state, atMs, context) {
      const first = shape.from(state);
      onTimer?.(first, atMs, context);
      Object.assign(state, shape.to(first));
    },
    ...(view && {
      view: (state, key, sinceMs) => ({ ...(view(shape.from(state), key, sinceMs) as object), madeBy: version }),
    }),
  };
}

export const depletionOf = (version: Version, zone: Zone): AnyJob<StockEvent> => {
  const first = depletionJob(zone);
  if (version === 1) return first;
  if (version === 2) return reshaped(first, 2, secondDepletion, (old) => old as DepletionState);
  return reshaped(first, 3, thirdDepletion, (old, from) =>
    from === 1 ? (old as DepletionState) : secondDepletion.from(old as SecondDepletion),
  );
};

export const storefrontOf = (version: Version): AnyJob<StockEvent> => {
  if (version === 1) return storefrontJob;
  if (version === 2) return reshaped(storefrontJob, 2, secondStorefront, (old) => old as StorefrontState);
  return reshaped(storefrontJob, 3, thirdStorefront, (old, from) =>
    from === 1 ? (old as StorefrontState) : secondStorefront.from(old as SecondStorefront),
  );
};

/** What the third version's states hold, in the shape of the first. */
export const firstOf = {
  "depletion.1": (state: unknown): unknown => thirdDepletion.from(state as ThirdDepletion),
  "storefront.1": (state: unknown): unknown => thirdStorefront.from(state as ThirdStorefront),
} as const;

/** The product, with both jobs in a version. */
export const tablesOf = (version: Version): Tables => ({
  ...PRODUCT_TABLES,
  jobs: [
    { topic: "stock", make: ({ zone }) => depletionOf(version, zone) as AnyJob<LogEvent>, views: [DepletionView] },
    { topic: "stock", make: () => storefrontOf(version) as AnyJob<LogEvent>, views: [StorefrontView] },
    ...JOBS.filter(({ topic }) => topic !== "stock"),
  ],
});

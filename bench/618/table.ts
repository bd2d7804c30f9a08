/** The three replays side by side, as lines of text. */
import { clockOf } from "./as-it-was.js";
import type { HourOutcome } from "./outcome.js";

export interface Replay {
  asItWas: HourOutcome;
  asItIs: HourOutcome;
  /** As it is, with the warehouse dead for a while. */
  wmsDead: HourOutcome;
}

const NAME_WIDTH = 36;
const WIDTH = 16;

/**
 * @param factor shop seconds in a real one after the rush
 * @param promiseMs how long payment to picking may take (R22)
 */
export function tableOf({ asItWas, asItIs, wmsDead }: Replay, factor: number, promiseMs: number): string[] {
  const line = (name: string, cell: (outcome: HourOutcome) => string) =>
    name.padEnd(NAME_WIDTH) + [asItWas, asItIs, wmsDead].map((each) => cell(each).padStart(WIDTH)).join("");
  const count =
    (of: "orders" | "atWms" | "duplicates" | "maxPerSecond" | "lost" | "requestsPerSecondMost" | "requests") =>
    (outcome: HourOutcome) =>
      outcome[of].toLocaleString("en");
  return [
    "".padEnd(NAME_WIDTH) + ["as it was", "as it is", "WMS dead 5–20"].map((head) => head.padStart(WIDTH)).join(""),
    line("orders", count("orders")),
    line("at the WMS", count("atWms")),
    line("lost", count("lost")),
    line("duplicates at the WMS", count("duplicates")),
    line("requests at the WMS, most in a second", count("maxPerSecond")),
    line("first order at the WMS", ({ firstAtWmsSecond }) =>
      firstAtWmsSecond === null ? "never" : clockOf(firstAtWmsSecond * 1_000),
    ),
    line("paid to picking, p50", ({ paidToPickingP50Ms }) => duration(paidToPickingP50Ms)),
    line(`paid to picking, p99 (goal ${promiseMs / 1_000} s)`, ({ paidToPickingP99Ms }) =>
      duration(paidToPickingP99Ms),
    ),
    line("order answered, p99", ({ orderAnsweredP99Ms }) => duration(orderAnsweredP99Ms)),
    line("buyers' requests, most in a second", count("requestsPerSecondMost")),
    line("buyers' requests", count("requests")),
    "",
    `Times of "as it was" are the shop's, the others real ones${factor === 1 ? "" : `; after the first half minute the hour ran ${factor} times as fast`}.`,
  ];
}

function duration(ms: number | null): string {
  if (ms === null) return "–";
  return ms < 10_000 ? `${ms.toLocaleString("en")} ms` : `${Math.round(ms / 1_000).toLocaleString("en")} s`;
}

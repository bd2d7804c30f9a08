/**
 * Settles the demo's differences when the visitor has not done so for a while, so that the demo shows the breaker's
 * closing in any case. It approves through the product's own settlement, under a name and a reason that say what it is.
 */
import type { DemoShop } from "../../connectors/demo-shop/index.js";
import { HOUR_MS, MINUTE_MS, sleep } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { MAX_SETTLED_ROWS } from "../reconciliation/settlement/settlement.js";
import type { Engine } from "./engine.js";

/** After midnight of the first day: the visitor has had 40 minutes of the shop's time, two minutes at 60 times. */
const DECIDES_MS = 18 * HOUR_MS + 40 * MINUTE_MS;
const CAUSE = { actor: "demo-operator", reason: "nobody had decided for 40 minutes: approved by the demo itself" };
/** Real time between two looks. */
const CHECK_MS = 1_000;

/** Approves what waits for a decision about a source, once, at its time; until the signal. */
export async function runDemoOperator(
  { reconciliation: { settlement }, clock }: Engine,
  { shop, source, onTrouble }: { shop: DemoShop; source: string; onTrouble: OnTrouble },
  signal: AbortSignal,
): Promise<void> {
  let isDone = false;
  while (!signal.aborted && !isDone) {
    await sleep(CHECK_MS, signal);
    if (signal.aborted || clock.now() - shop.rushStartMs < DECIDES_MS) continue;
    try {
      const page = await settlement.list({ source, state: "proposed", limit: MAX_SETTLED_ROWS });
      const ids = page.outcome === "found" ? page.rows.map(({ proposal }) => proposal.id) : [];
      if (ids.length > 0)
        await settlement.approve({ ids }, CAUSE, { rows: MAX_SETTLED_ROWS, units: Number.POSITIVE_INFINITY });
      isDone = true;
    } catch (thrown) {
      if (!signal.aborted) onTrouble(`demo operator: ${messageOf(thrown)}`);
    }
  }
}

/**
 * The ledger command of an approved proposal (R14). The same decision always makes the same command under the same id,
 * so it is booked once, however often it is sent, by whatever process. Pure.
 */
import { createHash } from "node:crypto";
import { chainId } from "../../kernel/chain-id.js";
import type { CorrectStock } from "../../stock/model.js";
import type { Decision } from "./settlement-store.js";

/** The channel of the corrections' ids. */
const CHANNEL = "ST";
/** Ids of one snapshot are spread over a minute: two of them have the same time and 40 bits once in 10^16. */
const ID_SPREAD_MS = 60_000;

/** The correction of an approved proposal: the same for the same decision, so that it is booked once. */
export function correctionOf({ proposal, actor, onBehalfOf, reason }: Decision): CorrectStock {
  const { id, comparison, source, snapshot, asOfMs, sku, location, correctionUnits, onHandUnits } = proposal;
  const spread = createHash("sha256").update(id).digest().readUInt32LE(8) % ID_SPREAD_MS;
  return {
    kind: "correct",
    id: chainId(CHANNEL, asOfMs + spread, id),
    ...{ sku, location, units: correctionUnits },
    expected: { onHandUnits },
    settlement: { comparison, source, snapshot, proposal: id, asOfMs },
    ...{ actor, reason },
    ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
  };
}

/**
 * Sells the demo's limited editions (connectors/demo-shop/limited-goods.ts) until they are sold out, and receives them
 * again, without end: through the order service and the ledger, as every shop's goods. An order that is refused, while
 * the breaker is open for example, is left out; what was sold is received again.
 */
import {
  LIMITED_GOODS,
  LIMITED_LOCATION,
  LIMITED_PACE,
  LIMITED_UNITS,
  type LimitedGood,
} from "../../connectors/demo-shop/limited-goods.js";
import { chainId } from "../kernel/chain-id.js";
import { sleep } from "../kernel/clock.js";
import { messageOf } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { isAccepted } from "../stock/model.js";
import { demoOrder, withRetries } from "./demo-feed.js";
import type { Engine } from "./engine.js";

/** The shop's own channel. */
const CHANNEL = "YZ";

/** Sells and receives all of them, until the signal. @param pace in real time */
export async function sellLimitedGoods(
  engine: Engine,
  signal: AbortSignal,
  onTrouble: OnTrouble,
  pace: { readonly [step in keyof typeof LIMITED_PACE]: number } = LIMITED_PACE,
): Promise<void> {
  const attempt = async <T>(send: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await withRetries(send);
    } catch (thrown) {
      if (!signal.aborted) onTrouble(`demo: limited goods: ${messageOf(thrown)}`);
      return undefined;
    }
  };
  await Promise.all(
    LIMITED_GOODS.map(async (good, i) => {
      await attempt(() => receive(engine, good, LIMITED_UNITS, 0));
      await sleep(i * pace.apartMs, signal);
      for (let round = 1; !signal.aborted; round++) {
        const sold: string[] = [];
        for (let unit = 0; unit < LIMITED_UNITS && !signal.aborted; unit++) {
          await sleep(pace.orderEveryMs, signal);
          const id = await attempt(() => sell(engine, good, `${round}/${unit}`));
          if (id !== undefined) sold.push(id);
        }
        await sleep(pace.outForMs, signal);
        if (signal.aborted) return;
        for (const id of sold) await attempt(() => engine.orders.service.outbound(id));
        if (sold.length > 0) await attempt(() => receive(engine, good, sold.length, round));
      }
    }),
  );
}

/** Sells one unit, which is paid for at once. @returns the order's id; undefined when it was refused */
async function sell({ orders: { service }, clock }: Engine, { code }: LimitedGood, reference: string) {
  const id = chainId(CHANNEL, clock.now(), `limited/${code}/${reference}`);
  const lines = [{ sku: code, location: LIMITED_LOCATION, units: 1 }];
  const { outcome } = await service.place(demoOrder(service, id, lines));
  if (!isAccepted(outcome as never)) return undefined;
  await service.pay(id);
  return id;
}

function receive({ stock, clock }: Engine, { code }: LimitedGood, units: number, round: number) {
  const id = chainId("RC", clock.now(), `limited/${code}/${round}`);
  const cause = { actor: "receiving.sha", reason: "limited edition" };
  return stock.ledger.apply({ kind: "receive", id, sku: code, location: LIMITED_LOCATION, units, ...cause });
}

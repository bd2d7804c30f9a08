/** The demo's feed leaves room for the engine, however many actions are due at once. */
import { expect, it } from "vitest";
import { ACTIONS_A_TURN, DemoFeed } from "../../engine/app/demo-feed.js";
import type { Engine } from "../../engine/app/engine.js";

const CALLS = 5_000;

it("sends what is due in slices between which the process reads and answers", async () => {
  const stop = new AbortController();
  let calls = 0;
  let inTurn = 0;
  let mostInTurn = 0;
  const call = async () => {
    mostInTurn = Math.max(mostInTurn, ++inTurn);
    if (++calls === CALLS) stop.abort();
    return { outcome: "accepted" };
  };
  const engine = {
    stock: { ledger: { apply: call, applyMany: call } },
    orders: { service: { place: call, pay: call, cancel: call, outbound: call, detailFaultOf: () => undefined } },
  } as unknown as Engine;
  const nextTurn = () => {
    inTurn = 0;
    turn = setImmediate(nextTurn);
  };
  let turn = setImmediate(nextTurn);
  try {
    // Without its history fed before, a week of it is due at once.
    await new DemoFeed({ seed: 618, speed: 60 }).play(engine, stop.signal, () => {});
  } finally {
    clearImmediate(turn);
  }
  expect(calls).toBeGreaterThanOrEqual(CALLS);
  expect(mostInTurn).toBeLessThanOrEqual(ACTIONS_A_TURN);
});

/**
 * Feeds the demo shop's actions to an engine. A week of history is sent as fast as the ledger accepts it, so that
 * daily averages exist. Then the shop's clock starts at midnight of 18 June and runs faster than real time
 * (demo-time.ts), and every order, payment and parcel is sent at its time through the same order service and ledger as
 * a real shop's. A refused order is not sent again; an overloaded engine gets the same request, with the same id, a
 * little later.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type DemoAction, type DemoShop, demoShop, type OrderLine } from "../../connectors/demo-shop/index.js";
import { paymentOf } from "../../connectors/demo-shop/payments.js";
import { recipientOf } from "../../connectors/demo-shop/recipients.js";
import { sleep } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { lineId } from "../orders/model.js";
import { isAccepted, type StockCommand } from "../stock/model.js";
import { DemoTime } from "./demo-time.js";
import type { Engine } from "./engine.js";
import type { ShopTime } from "./engine-settings.js";

/** Commands in one call of the history, and calls under way at once. */
const HISTORY_CHUNK = 4_000;
const CHUNKS_UNDER_WAY = 3;
/** Real time between two reads of the clock. */
const CHECK_MS = 15;
/** Actions that are sent in one turn of the event loop: thousands are due at once when the rush begins. */
export const ACTIONS_A_TURN = 100;
/** Refused orders that are kept, so that their payments are not sent; the oldest are dropped first. */
const REFUSED_LIMIT = 20_000;
const TRIES = 5;

type OrderAction = Extract<DemoAction, { kind: "order" }>;
type StepAction = Extract<DemoAction, { kind: "pay" | "cancel" | "outbound" }>;

export class DemoFeed {
  readonly shop: DemoShop;
  readonly #time: DemoTime;
  readonly #actions: Iterator<DemoAction, never>;
  #next: DemoAction;
  /** Orders without an answer yet: their steps wait for it. */
  readonly #placing = new Map<string, Promise<void>>();
  readonly #refused = new Set<string>();

  constructor({ seed, speed }: { seed: number; speed: number }) {
    this.shop = demoShop(seed);
    this.#time = new DemoTime(this.shop.openingMs, speed);
    this.#actions = this.shop.actions();
    this.#next = this.#actions.next().value;
  }

  get time(): ShopTime {
    return this.#time;
  }

  /** Feeds the history; resolves when the ledger has accepted all of it and the jobs have processed it. */
  async feedHistory({ stock, topic }: Engine, signal: AbortSignal): Promise<void> {
    const { ledger } = stock;
    const { follower } = topic("stock");
    const underWay: { firstMs: number; done: Promise<unknown> }[] = [];
    while (this.#next.phase === "history" && !signal.aborted) {
      const firstMs = this.#next.atMs;
      const commands: StockCommand[] = [];
      while (this.#next.phase === "history" && commands.length < HISTORY_CHUNK)
        commands.push(...historyCommands(this.#take()));
      underWay.push({ firstMs, done: ledger.applyMany(commands) });
      if (underWay.length >= CHUNKS_UNDER_WAY) await underWay.shift()?.done;
      // Not past a command that is still under way: the commands' own times move the ledger's clock.
      this.#time.moveTo(underWay[0]?.firstMs ?? firstMs);
    }
    await Promise.all(underWay.map(({ done }) => done));
    this.#time.moveTo(this.shop.rushStartMs);
    while (follower.asOf() < this.shop.rushStartMs && !signal.aborted) await sleep(CHECK_MS, signal);
  }

  /** Sends the rush and the days after it in the shop's time, until the signal. */
  async play(engine: Engine, signal: AbortSignal, onTrouble: OnTrouble): Promise<void> {
    this.#time.run(this.shop.rushStartMs);
    while (!signal.aborted) {
      this.#time.keepPace();
      const nowMs = this.#time.clock.now();
      for (let sent = 0; sent < ACTIONS_A_TURN && this.#next.atMs <= nowMs; sent++) {
        const action = this.#take();
        this.#time.phase = action.phase;
        this.#perform(engine, action).catch((thrown: unknown) => {
          if (!signal.aborted) onTrouble(`demo: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
        });
      }
      await (this.#next.atMs <= nowMs ? nextTurn() : sleep(CHECK_MS, signal));
    }
  }

  #take(): DemoAction {
    const action = this.#next;
    this.#next = this.#actions.next().value;
    return action;
  }

  async #perform(engine: Engine, action: DemoAction): Promise<void> {
    switch (action.kind) {
      case "command": {
        const { atMs: _atMs, ...command } = action.command;
        await withRetries(() => engine.stock.ledger.apply(command as StockCommand));
        return;
      }
      case "order":
        return this.#place(engine, action);
      default:
        return this.#step(engine, action);
    }
  }

  async #place({ orders }: Engine, { order: { id, lines } }: OrderAction): Promise<void> {
    const placed = demoOrder(orders.service, id, lines);
    const placing = withRetries(() => orders.service.place(placed)).then(({ outcome }) => {
      if (isAccepted(outcome as never)) this.#refused.delete(id);
      else this.#refuse(id);
    });
    this.#placing.set(id, placing);
    try {
      await placing;
    } finally {
      if (this.#placing.get(id) === placing) this.#placing.delete(id);
    }
  }

  async #step(engine: Engine, action: StepAction): Promise<void> {
    const { kind, order } = action;
    await this.#placing.get(order.id);
    if (this.#refused.has(order.id)) return;
    if (order.placedAtMs >= this.shop.rushStartMs) await withRetries(() => engine.orders.service[kind](order.id));
    // The history's orders were sent to the ledger line by line; the order service does not have them.
    else
      await withRetries(() =>
        engine.stock.ledger.applyMany(order.lines.map((line, i) => ({ kind, ...line, id: lineId(order.id, i) }))),
      );
  }

  #refuse(id: string): void {
    this.#refused.add(id);
    if (this.#refused.size <= REFUSED_LIMIT) return;
    const [oldest] = this.#refused;
    this.#refused.delete(oldest as string);
  }
}

/** An order with a made-up recipient and payment. */
export function demoOrder(service: Engine["orders"]["service"], id: string, lines: readonly OrderLine[]) {
  const payment = paymentOf(id, lines);
  // A folder of an earlier release may not take it yet.
  const details = service.detailFaultOf(payment) === undefined ? payment : {};
  return { id, lines: [...lines], shipTo: recipientOf(id), ...details };
}

/** An action of the history as ledger commands, each at its own time. */
function historyCommands(action: DemoAction): StockCommand[] {
  if (action.kind === "command") return [action.command];
  const { order, atMs } = action;
  const kind = action.kind === "order" ? "reserve" : action.kind;
  return order.lines.map((line, i) => ({ kind, ...line, id: lineId(order.id, i), atMs }));
}

/** Sends again what an overloaded engine refused, as a client does. */
export async function withRetries<T>(send: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (thrown) {
      if (!(thrown instanceof EngineError && thrown.retryable) || attempt === TRIES) throw thrown;
      await sleep(100 * 2 ** attempt);
    }
  }
}

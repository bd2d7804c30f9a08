/**
 * The demo's shop at work: feeds the demo shop's actions to the engine. A week of history goes in as fast as the
 * ledger takes it, so that daily averages exist; then the shop's clock starts at midnight of 18 June and runs 60
 * times as fast as the wall's, and every order, payment and parcel comes at its time, through the same desk and
 * ledger as a real shop's. What the ledger refuses stays refused; what is overloaded is sent again under the same id.
 */
import { type DemoAction, type DemoShop, demoShop, type Phase } from "../../connectors/demo-shop/index.js";
import { acceleratedClock, type Clock, sleep } from "../kernel/clock.js";
import { EngineError } from "../kernel/errors.js";
import type { OnTrouble } from "../kernel/logger.js";
import { lineId } from "../orders/model.js";
import { isAccepted, type StockCommand } from "../stock/model.js";
import type { Engine, ShopTime } from "./engine.js";

/** Commands of one part of the history, and parts under way at once. */
const HISTORY_CHUNK = 4_000;
const CHUNKS_UNDER_WAY = 3;
/** Real time between two looks at the clock. */
const PACE_MS = 15;
/** Refused orders remembered, so that their payments are not sent; the oldest are forgotten first. */
const REFUSED_KEPT = 20_000;
const TRIES = 5;

type OrderAction = Extract<DemoAction, { kind: "order" }>;
type StepAction = Extract<DemoAction, { kind: "pay" | "cancel" | "outbound" }>;

/** The shop's clock: stands with the history, then runs. */
class DemoTime implements ShopTime {
  phase: Phase = "history";
  #nowMs: number;
  #running: Clock | undefined;
  readonly #speed: number;
  readonly clock: Clock = { now: () => this.#running?.now() ?? this.#nowMs };

  constructor(startMs: number, speed: number) {
    this.#nowMs = startMs;
    this.#speed = speed;
  }

  moveTo(ms: number): void {
    this.#nowMs = ms;
  }

  run(fromMs: number): void {
    this.#running = acceleratedClock(fromMs, this.#speed);
  }

  speed(): number {
    return this.#running ? this.#speed : 1;
  }

  scene(): string {
    return this.phase;
  }
}

export class Demo {
  readonly shop: DemoShop;
  readonly #time: DemoTime;
  readonly #actions: Iterator<DemoAction, never>;
  #next: DemoAction;
  /** Orders whose answer is awaited: their steps wait for it. */
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

  /** Feeds the history; resolves when the ledger has taken all of it and the jobs have seen it. */
  async feedHistory({ ledger, follower }: Engine, signal: AbortSignal): Promise<void> {
    const underWay: { firstMs: number; done: Promise<unknown> }[] = [];
    while (this.#next.phase === "history" && !signal.aborted) {
      const firstMs = this.#next.atMs;
      const commands: StockCommand[] = [];
      while (this.#next.phase === "history" && commands.length < HISTORY_CHUNK)
        commands.push(...historyCommands(this.#take()));
      underWay.push({ firstMs, done: ledger.applyMany(commands) });
      if (underWay.length >= CHUNKS_UNDER_WAY) await underWay.shift()?.done;
      // Not beyond what is still under way: the commands' own times move the ledger's clock.
      this.#time.moveTo(underWay[0]?.firstMs ?? firstMs);
    }
    await Promise.all(underWay.map(({ done }) => done));
    this.#time.moveTo(this.shop.rushStartMs);
    while (follower.asOf() < this.shop.rushStartMs && !signal.aborted) await sleep(PACE_MS, signal);
  }

  /** Plays the rush and the days after it in the shop's time, until told to stop. */
  async play(engine: Engine, signal: AbortSignal, onTrouble: OnTrouble): Promise<void> {
    this.#time.run(this.shop.rushStartMs);
    while (!signal.aborted) {
      const nowMs = this.#time.clock.now();
      while (this.#next.atMs <= nowMs) {
        const action = this.#take();
        this.#time.phase = action.phase;
        this.#perform(engine, action).catch((thrown: unknown) => {
          if (!signal.aborted) onTrouble(`demo: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
        });
      }
      await sleep(PACE_MS, signal);
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
        await insist(() => engine.ledger.apply(command as StockCommand));
        return;
      }
      case "order":
        return this.#place(engine, action);
      default:
        return this.#step(engine, action);
    }
  }

  async #place({ orderService }: Engine, { order: { id, lines } }: OrderAction): Promise<void> {
    const placing = insist(() => orderService.place({ id, lines: [...lines] })).then(({ outcome }) => {
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
    if (order.placedAtMs >= this.shop.rushStartMs) await insist(() => engine.orderService[kind](order.id));
    // The history's orders went to the ledger line by line; the desk has never seen them.
    else
      await insist(() =>
        engine.ledger.applyMany(order.lines.map((line, i) => ({ kind, ...line, id: lineId(order.id, i) }))),
      );
  }

  #refuse(id: string): void {
    this.#refused.add(id);
    if (this.#refused.size <= REFUSED_KEPT) return;
    const [oldest] = this.#refused;
    this.#refused.delete(oldest as string);
  }
}

/** An action of the history as ledger commands, each at its own time. */
function historyCommands(action: DemoAction): StockCommand[] {
  if (action.kind === "command") return [action.command];
  const { order, atMs } = action;
  const kind = action.kind === "order" ? "reserve" : action.kind;
  return order.lines.map((line, i) => ({ kind, ...line, id: lineId(order.id, i), atMs }));
}

/** Sends again what the engine was too busy for, as a client would. */
async function insist<T>(send: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (thrown) {
      if (!(thrown instanceof EngineError && thrown.retryable) || attempt === TRIES) throw thrown;
      await sleep(100 * 2 ** attempt);
    }
  }
}

/**
 * The clients of a simulated shop. Each sends its requests to an order service, repeats them until they are answered,
 * and records the replies: which states an order's lines may have, and how each command was answered. A client never
 * crashes; the check at the end compares its records with what Redis holds.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import type { ManualClock } from "../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import type { Order, OrderReply, WithdrawalResult } from "../../engine/orders/model.js";
import type { OrderService } from "../../engine/orders/order-service.js";
import type { Ledger } from "../../engine/stock/ledger.js";
import {
  isAccepted as isAcceptedReply,
  type LineState,
  OUTCOMES,
  type Reply,
  type StockCommand,
} from "../../engine/stock/model.js";
import { fixedTurns, type Plan, type ScriptedClient } from "./faults-plan.js";
import type { VirtualTime } from "./virtual-time.js";

const ACCEPTED_OUTCOMES = OUTCOMES.filter(isAcceptedReply);
const SKUS = ["CUP", "SHOE", "BAG", "水杯"];
const LOCATIONS = ["SH", "GZ"];

/** An order, the replies that its client has received, and the states that its lines may have by the last one. */
export interface TrackedOrder {
  order: Order;
  allowed: readonly LineState[];
  /** For lines named in a request, in place of `allowed`; by index. */
  allowedOfLine: Map<number, readonly LineState[]>;
  replies: string[];
  /** The time of the last reply, by the simulation's clock. */
  repliedMs: number;
  /** Accepted steps may have been lost with the newest writes. */
  isVoid: boolean;
  /** Steps accepted by any attempt, including one that the client no longer waited for. */
  acceptedSteps: ("place" | "pay")[];
}

/** What answers a request. */
export interface Services {
  ledger: Ledger;
  orders: OrderService;
}

export interface ClientsOptions {
  plan: Plan;
  seed: number;
  time: VirtualTime;
  /** The ledger's clock in a `fixed` shop. */
  fixedClock: ManualClock;
  /** Sends a request to a running order service, and repeats it until there is an answer. */
  request: <Answer>(random: Random, what: (services: Services) => Promise<Answer>) => Promise<Answer>;
}

export class Clients {
  readonly orders: TrackedOrder[] = [];
  /** Answers to commands that bring an id of their own, by id. */
  readonly answers = new Map<string, Reply>();
  /** Answers to the turns of a `fixed` shop; undefined for those without a command. */
  readonly fixedAnswers: (Reply | undefined)[] = [];
  readonly #plan: Plan;
  readonly #seed: number;
  readonly #time: VirtualTime;
  readonly #fixedClock: ManualClock;
  readonly #request: ClientsOptions["request"];
  #salt = 0;

  constructor({ plan, seed, time, fixedClock, request }: ClientsOptions) {
    this.#plan = plan;
    this.#seed = seed;
    this.#time = time;
    this.#fixedClock = fixedClock;
    this.#request = request;
  }

  /** Starts every client of the plan; each promise resolves when its client has finished. */
  start(): Promise<void>[] {
    const plan = this.#plan;
    if (plan.kind === "fixed") return [this.#fixedClient()];
    if (plan.script) return [plan.script(this.#scriptedClient())];
    return Array.from({ length: plan.clients }, (_, i) =>
      this.#freeClient(i, seededRandom(this.#seed + 7_919 * (i + 1))),
    );
  }

  /** Marks every answer so far as possibly lost: they are not checked. */
  voidAnswers(): void {
    for (const tracked of this.orders) tracked.isVoid = true;
    this.answers.clear();
  }

  async #fixedClient(): Promise<void> {
    const random = seededRandom(this.#seed ^ 0xf1ed);
    for (const { atMs, command } of fixedTurns(this.#seed, this.#plan.turns)) {
      this.#fixedClock.moveTo(atMs);
      if (command) this.fixedAnswers.push(await this.#request(random, ({ ledger }) => ledger.apply(command)));
      else {
        this.fixedAnswers.push(undefined);
        for (let partition = 0; partition < this.#plan.partitions; partition++)
          await this.#request(random, ({ ledger }) => ledger.tick(partition));
      }
      await this.#time.sleep(random.below(this.#plan.pauseMs));
    }
  }

  async #freeClient(position: number, random: Random): Promise<void> {
    const id = () => chainIdFromNumber("S1", this.#time.now(), this.#salt++);
    const at = () => ({ sku: random.pick(SKUS), location: random.pick(LOCATIONS) });
    const apply = (command: StockCommand) => this.#apply(random, command);
    if (position === 0) {
      for (const sku of SKUS)
        await apply({ kind: "receive", id: id(), sku, location: random.pick(LOCATIONS), units: 2 + random.below(6) });
      await apply({ kind: "configure", id: id(), ...at(), settings: { alertFloorUnits: 2 } });
    }
    for (let turn = 0; turn < this.#plan.turns; turn++) {
      await this.#time.sleep(random.below(this.#plan.pauseMs));
      const draw = random.below(100);
      if (draw < 62) await this.#randomOrder(random, id());
      else if (draw < 77) await apply({ kind: "receive", id: id(), ...at(), units: 1 + random.below(4) });
      else if (draw < 82) await apply({ kind: "correct", id: id(), ...at(), units: random.pick([-2, -1, 1]) });
      else if (draw < 87) await apply({ kind: "move", id: id(), ...at(), units: 1, from: "sellable", to: "safety" });
      else if (draw < 91) await apply({ kind: "return", id: id(), ...at(), units: 1 });
      else if (draw < 94)
        await apply({ kind: "configure", id: id(), ...at(), settings: { alertFloorUnits: 1 + random.below(4) } });
      else {
        await this.#openBreaker(random, random.pick(SKUS), 1 + random.below(9_000));
      }
    }
  }

  #scriptedClient(): ScriptedClient {
    const random = seededRandom(this.#seed);
    const id = () => chainIdFromNumber("S1", this.#time.now(), this.#salt++);
    const location = LOCATIONS[0] as string;
    const trackedOf = (of: string) => this.orders.find(({ order }) => order.id === of) as TrackedOrder;
    return {
      receive: (sku, units) => this.#apply(random, { kind: "receive", id: id(), sku, location, units }),
      place: async (units, holdMs) => {
        const lines = Object.entries(units).map(([sku, each]) => ({ sku, location, units: each }));
        const order = { id: id(), lines, ...(holdMs !== undefined && { holdMs }) };
        await this.#place(random, this.#track(order));
        return order.id;
      },
      placeAgain: (of) => this.#place(random, trackedOf(of)),
      pay: (of) => this.#pay(random, trackedOf(of)),
      cancel: (of, lines) => this.#cancel(random, trackedOf(of), lines),
      outbound: (of, lines) => this.#outbound(random, trackedOf(of), lines),
      settle: (of, result) => this.#settle(random, trackedOf(of), result),
      refuse: (sku, forMs) => this.#openBreaker(random, sku, forMs),
      wait: (ms) => this.#time.sleep(ms),
    };
  }

  async #openBreaker(random: Random, sku: string, forMs: number): Promise<void> {
    const cause = { actor: "client", reason: "drill", forMs };
    await this.#request(random, async ({ ledger }) => {
      const { missing } = await ledger.breakers.set({ kind: "sku", sku }, "open", cause);
      if (missing.length > 0) throw new Error("no answer");
    });
  }

  async #apply(random: Random, command: StockCommand): Promise<void> {
    this.answers.set(command.id, await this.#request(random, ({ ledger }) => ledger.apply(command)));
  }

  /** The steps of one order, ended at random. */
  async #randomOrder(random: Random, id: string): Promise<void> {
    const lines = Array.from({ length: random.pick([1, 1, 2, 2, 3]) }, () => ({
      sku: random.pick(SKUS),
      location: random.pick(LOCATIONS),
      units: 1 + random.below(3),
    }));
    const holdMs = random.pick([0, 4_000, 15_000]);
    const tracked = this.#track({ id, lines, ...(holdMs > 0 && { holdMs }) });
    const pause = () => this.#time.sleep(random.below(2 * this.#plan.pauseMs));
    if (!(await this.#place(random, tracked))) {
      if (random.below(3) > 0) return;
      await pause();
      if (!(await this.#place(random, tracked))) return;
    }
    if (random.below(10) < 2) return;
    await pause();
    if (random.below(10) < 7) {
      const paid = await this.#pay(random, tracked);
      await pause();
      if (paid && random.below(2) === 0) {
        await this.#outbound(random, tracked);
        return;
      }
      if (random.below(2) === 0) return;
    }
    await this.#cancel(random, tracked);
  }

  #track(order: Order): TrackedOrder {
    const tracked: TrackedOrder = {
      ...{
        order,
        allowed: ["none"],
        allowedOfLine: new Map(),
        replies: [],
        repliedMs: 0,
        isVoid: false,
        acceptedSteps: [],
      },
    };
    this.orders.push(tracked);
    return tracked;
  }

  /** Each returns whether it was accepted, and records the states that the order's lines may have from now on. */
  async #place(random: Random, tracked: TrackedOrder): Promise<boolean> {
    const reply = await this.#request(random, ({ orders }) =>
      recordingAccepted(tracked, "place", orders.place(tracked.order)),
    );
    const refused: LineState[] = reply.outcome === "hold_expired" ? ["none", "expired"] : ["none"];
    return this.#recordReply(tracked, "place", reply, ["held", "expired"], refused);
  }

  async #pay(random: Random, tracked: TrackedOrder): Promise<boolean> {
    const reply = await this.#request(random, ({ orders }) =>
      recordingAccepted(tracked, "pay", orders.pay(tracked.order.id)),
    );
    // A payment of a refused order finds no line, or a line whose hold has expired.
    const refused: LineState[] = tracked.allowed.includes("none")
      ? ["none", "expired", "unpaid"]
      : ["expired", "unpaid"];
    const isCancelled = reply.outcome === "line_cancelled";
    return this.#recordReply(tracked, "pay", reply, ["paid"], isCancelled ? ["cancelled", "cancelled_paid"] : refused);
  }

  async #cancel(random: Random, tracked: TrackedOrder, lines?: readonly number[]): Promise<boolean> {
    const reply = await this.#request(random, ({ orders }) => orders.cancel(tracked.order.id, undefined, lines));
    if (reply.outcome === "cancelling") return this.#recordReply(tracked, "cancel", reply, [], ["cancelling"]);
    const after: LineState[] = reply.outcome === "cancelled_paid" ? ["cancelled_paid"] : ["cancelled"];
    // Paid at the same time: either may have reached each line first.
    if (reply.outcome === "cancelled_paid" && !tracked.allowed.includes("paid")) after.push("cancelled");
    return this.#recordReply(tracked, "cancel", reply, after, tracked.allowed, lines);
  }

  async #outbound(random: Random, tracked: TrackedOrder, lines?: readonly number[]): Promise<boolean> {
    const reply = await this.#request(random, ({ orders }) => orders.outbound(tracked.order.id, undefined, lines));
    return this.#recordReply(tracked, "outbound", reply, ["outbound"], tracked.allowed, lines);
  }

  async #settle(random: Random, tracked: TrackedOrder, result: WithdrawalResult): Promise<boolean> {
    const evidence = { source: "wms" };
    const reply = await this.#request(random, ({ orders }) =>
      orders.settleCancellation(tracked.order.id, result, evidence),
    );
    const after: LineState = result === "refused" ? "paid" : "cancelled_paid";
    const isCancelled = reply.outcome === "line_cancelled";
    return this.#recordReply(
      tracked,
      `settle ${result}`,
      reply,
      [after],
      isCancelled ? ["cancelled_paid"] : tracked.allowed,
    );
  }

  #recordReply(
    tracked: TrackedOrder,
    step: string,
    { outcome }: OrderReply,
    accepted: readonly LineState[],
    refused: readonly LineState[],
    lines?: readonly number[],
  ): boolean {
    const isAccepted = isAcceptedOutcome(outcome);
    tracked.replies.push(`${step}${lines ? ` ${lines}` : ""}: ${outcome}`);
    tracked.repliedMs = this.#time.now();
    if (!lines) tracked.allowed = isAccepted ? accepted : refused;
    else if (isAccepted) for (const line of lines) tracked.allowedOfLine.set(line - 1, accepted);
    return isAccepted;
  }
}

async function recordingAccepted(
  tracked: TrackedOrder,
  step: "place" | "pay",
  reply: Promise<OrderReply>,
): Promise<OrderReply> {
  const { outcome } = await reply;
  if (isAcceptedOutcome(outcome)) tracked.acceptedSteps.push(step);
  return reply;
}

const isAcceptedOutcome = (outcome: OrderReply["outcome"]): boolean =>
  (ACCEPTED_OUTCOMES as readonly string[]).includes(outcome);

/**
 * Customers of the fault tests: clients that send stock commands and orders over the real HTTP interface and keep
 * their own books of what they were answered. A request whose answer is lost, late or "not now" is sent again with
 * the same body until it is answered, to whichever server answers; some are sent once more on purpose. Every command
 * has one final answer, or the load fails. What a client does next depends on the answer; its choices come from
 * a seed.
 */
import { Agent, request } from "node:http";
import { Packr } from "msgpackr";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { sleep } from "../../engine/kernel/clock.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import type { OrderReply } from "../../engine/orders/model.js";
import {
  EVENT_TYPES,
  type EventType,
  isAccepted,
  type Outcome,
  type Reply,
  type StockCommand,
} from "../../engine/stock/model.js";
import { TOKEN } from "./bed.js";

/** What a command was finally answered; commands about a line share its id, so the kind belongs to the key. */
export interface Answered {
  id: string;
  kind: StockCommand["kind"];
  /** What the event would be called. */
  type: EventType;
  sku: string;
  accepted: boolean;
  outcome: string;
  repeated: boolean;
  /** Of an order of several lines: a refused one may have been reserved and given up again. */
  ofOrder: boolean;
  /** When the try that was answered was sent, and when the answer was read. */
  sentMs: number;
  atMs: number;
}

export interface ShopSettings {
  seed: number;
  /** Base addresses; a client goes to the next one when one does not answer. */
  apis: readonly string[];
  /** Commands in all, an order's every line counted. */
  commands: number;
  /** Commands a second at most. */
  rate: number;
  skus: number;
  batchers: number;
  orderers: number;
  /** Commands of one bulk request at most. */
  batch: number;
  /** How long a client waits for one answer. */
  timeoutMs: number;
  /** Until when resending goes on; then the request is given up and the load fails. */
  patienceMs: number;
  /** Whether some requests are sent once more after their answer, which must be the same; true when left out. */
  twice?: boolean;
}

interface Line {
  id: string;
  sku: string;
  location: string;
  units: number;
}

const LOCATIONS = ["SHA", "CAN"];
/** Every fifth SKU is scarce, so that orders are refused. */
const SCARCE_EVERY = 5;
const SCARCE_UNITS = 60;
const PLENTY_UNITS = 1_000_000;
/** Never paid, never cancelled: the ledger gives them back. */
const SHORT_HOLD_MS = 1_500;
const RESEND_FIRST_MS = 25;
const RESEND_MAX_MS = 400;
/** A request answered already is sent again by one in this many. */
const TWICE_ONE_IN = 40;
const MSGPACK = "application/msgpack";
const NDJSON = "application/x-ndjson";

const packr = new Packr({ useRecords: false });

const skuName = (number: number): string => `SKU-${String(number).padStart(4, "0")}`;
export const skuNames = (count: number): string[] => Array.from({ length: count }, (_, number) => skuName(number));

/** The whole load, and what came of it. */
export class Shop {
  readonly settings: ShopSettings;
  readonly answers = new Map<string, Answered>();
  /** Requests that were sent once more, and requests in all. */
  resent = 0;
  requests = 0;
  /** The longest that a client waited for its answer, all its tries together. */
  longestWaitMs = 0;
  /** What became of that one's tries. */
  longestWait: string[] = [];
  /** Answers that asked a client to retry later. */
  readonly refusals: string[] = [];
  /** No more commands than this are given out for now. */
  ceiling = Number.POSITIVE_INFINITY;
  /** Lines whose hold was made to run out. */
  readonly shortHolds = new Set<string>();
  readonly #agent = new Agent({ keepAlive: true });
  readonly #clients: Client[];
  readonly #startedMs = performance.now();
  #taken = 0;
  #stopped = false;

  constructor(settings: ShopSettings) {
    this.settings = settings;
    const { batchers, orderers } = settings;
    this.#clients = Array.from({ length: batchers + orderers }, (_, number) =>
      number < batchers ? new Batcher(this, number) : new Orderer(this, number),
    );
  }

  /** Commands with a final answer. */
  get accounted(): number {
    return this.answers.size;
  }

  /** Receives the stock, then runs every client until all commands are answered, or until `stop`. */
  async run(): Promise<void> {
    try {
      await this.receive(skuNames(this.settings.skus));
      await Promise.all(this.#clients.map((client) => client.run()));
    } finally {
      this.#agent.destroy();
    }
  }

  /** Delivers goods of each SKU to every location, beside what the clients do. */
  async receive(skus: readonly string[]): Promise<void> {
    await (this.#clients[0] as Client).receive(skus);
  }

  /** Ends every client after its current request. */
  stop(): void {
    this.#stopped = true;
  }

  /** How many of `wanted` commands a client may make now, after waiting for its turn; 0 when there are none left. */
  async take(wanted: number): Promise<number> {
    const { commands, rate } = this.settings;
    while (this.#taken >= this.ceiling && !this.#stopped) await sleep(5);
    const granted = this.#stopped ? 0 : Math.min(wanted, commands - this.#taken);
    this.#taken += granted;
    const dueMs = this.#startedMs + (this.#taken / rate) * 1_000;
    const waitMs = dueMs - performance.now();
    if (granted > 0 && waitMs > 0) await sleep(waitMs);
    return granted;
  }

  note(answer: Answered): void {
    const key = `${answer.kind} ${answer.id}`;
    if (this.answers.has(key)) throw new Error(`${key} was answered twice`);
    this.answers.set(key, answer);
  }

  /** Checks what was answered to a request that had been answered already. */
  noteAgain(id: string, kind: StockCommand["kind"], accepted: boolean, outcome: string, repeated: boolean): void {
    const first = this.answers.get(`${kind} ${id}`);
    if (!first || first.accepted !== accepted || (accepted && (!repeated || first.outcome !== outcome))) {
      throw new Error(
        `${kind} ${id}: first ${first?.outcome}, then ${outcome}${repeated ? "" : ", and not as a repeat"}`,
      );
    }
  }

  /** Sends a request until it is answered. */
  async ask(
    path: string,
    type: string | undefined,
    body: Buffer | undefined,
    first: number,
  ): Promise<{ status: number; body: Buffer; sentMs: number }> {
    const { apis, patienceMs } = this.settings;
    this.requests++;
    const startedMs = performance.now();
    const troubles: string[] = [];
    for (let attempt = 0, waitMs = RESEND_FIRST_MS; ; attempt++, waitMs = Math.min(waitMs * 2, RESEND_MAX_MS)) {
      if (attempt > 0) this.resent++;
      const base = apis[(first + attempt) % apis.length] as string;
      const sentMs = performance.now();
      try {
        const answer = await this.#send(base + path, type, body);
        const { status } = answer;
        if (status !== 429 && status !== 503) {
          const waitedMs = performance.now() - startedMs;
          if (waitedMs > this.longestWaitMs) {
            this.longestWaitMs = waitedMs;
            this.longestWait = troubles;
          }
          return { ...answer, sentMs };
        }
        troubles.push(`${status} ${answer.body.toString("utf8")}`);
        this.refusals.push(troubles.at(-1) as string);
      } catch (thrown) {
        troubles.push(String(thrown));
      }
      if (performance.now() - startedMs > patienceMs)
        throw new Error(
          `${path}: no answer in ${patienceMs} ms and ${attempt + 1} tries; the last: ${troubles.at(-1)}`,
        );
      await sleep(waitMs);
    }
  }

  #send(url: string, type: string | undefined, body: Buffer | undefined): Promise<{ status: number; body: Buffer }> {
    return new Promise((resolve, reject) => {
      const sent = request(url, {
        method: "POST",
        agent: this.#agent,
        headers: {
          authorization: `Bearer ${TOKEN}`,
          ...(type === undefined ? {} : { "content-type": type }),
          "content-length": body?.length ?? 0,
        },
      });
      const fail = (error: Error): void => {
        clearTimeout(timer);
        sent.destroy();
        reject(error);
      };
      // Of the whole exchange: a server that is stopped half-way through an answer is silent, too.
      const timer = setTimeout(() => fail(new Error("no answer in time")), this.settings.timeoutMs);
      sent.on("error", fail);
      sent.on("close", () => fail(new Error("the connection was closed")));
      sent.on("response", (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("error", fail);
        response.on("end", () => {
          clearTimeout(timer);
          if (response.complete) resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts) });
          else fail(new Error("the answer broke off"));
        });
      });
      sent.end(body);
    });
  }
}

abstract class Client {
  protected readonly shop: Shop;
  protected readonly random: Random;
  readonly #number: number;
  #ids = 0;

  constructor(shop: Shop, number: number) {
    this.shop = shop;
    this.#number = number;
    this.random = seededRandom(shop.settings.seed * 100 + number);
  }

  abstract run(): Promise<void>;

  protected id(): string {
    return chainIdFromNumber("KT", Date.now(), this.#number * 2 ** 28 + this.#ids++);
  }

  protected get api(): number {
    return this.random.below(this.shop.settings.apis.length);
  }

  protected twice(): boolean {
    return (this.shop.settings.twice ?? true) && this.random.below(TWICE_ONE_IN) === 0;
  }

  protected place(): { sku: string; location: string } {
    return { sku: skuName(this.random.below(this.shop.settings.skus)), location: this.random.pick(LOCATIONS) };
  }

  protected units(): number {
    return 1 + this.random.below(3);
  }

  async receive(skus: readonly string[]): Promise<void> {
    const { batch } = this.shop.settings;
    const commands = skus.flatMap((sku, number) =>
      LOCATIONS.map(
        (location): StockCommand => ({
          kind: "receive",
          id: this.id(),
          sku,
          location,
          units: number % SCARCE_EVERY === 0 ? SCARCE_UNITS : PLENTY_UNITS,
        }),
      ),
    );
    for (let from = 0; from < commands.length; from += batch) {
      const part = commands.slice(from, from + batch);
      await this.shop.take(part.length);
      await this.apply(part);
    }
  }

  /** Sends commands in bulk, as one format or the other, and notes every answer. */
  protected async apply(commands: readonly StockCommand[]): Promise<Reply[]> {
    const type = this.random.below(2) === 0 ? MSGPACK : NDJSON;
    const body =
      type === MSGPACK
        ? packr.pack(commands)
        : Buffer.from(commands.map((command) => `${JSON.stringify(command)}\n`).join(""));
    const send = async (): Promise<{ replies: Reply[]; sentMs: number }> => {
      const { status, body: answered, sentMs } = await this.shop.ask("/v1/commands", type, body, this.api);
      if (status !== 200) throw new Error(`/v1/commands: ${status} ${answered.toString("utf8")}`);
      const replies: (Reply & { id: string })[] =
        type === MSGPACK
          ? packr.unpack(answered)
          : answered
              .toString("utf8")
              .trim()
              .split("\n")
              .map((line) => JSON.parse(line));
      if (replies.length !== commands.length || replies.some(({ id }, i) => id !== commands[i]?.id))
        throw new Error("/v1/commands: the answers are not those of the commands");
      return { replies, sentMs };
    };
    const { replies, sentMs } = await send();
    const atMs = performance.now();
    for (let i = 0; i < commands.length; i++) {
      const { id, kind, sku } = commands[i] as StockCommand;
      const { outcome, repeated } = replies[i] as Reply;
      this.shop.note({
        id,
        kind,
        type: EVENT_TYPES[kind],
        sku,
        accepted: isAccepted(outcome),
        outcome,
        repeated,
        ofOrder: false,
        sentMs,
        atMs,
      });
    }
    if (this.twice()) {
      for (const [i, { outcome, repeated }] of (await send()).replies.entries()) {
        const { id, kind } = commands[i] as StockCommand;
        this.shop.noteAgain(id, kind, isAccepted(outcome), outcome, repeated);
      }
    }
    return replies;
  }
}

/** Sends batches of mixed commands: new reservations, and what follows for those it was granted. */
class Batcher extends Client {
  readonly #held: Line[] = [];
  readonly #paid: Line[] = [];
  /** Held and never to be paid: what is tried on them is refused. */
  readonly #doomed: Line[] = [];

  async run(): Promise<void> {
    const { batch } = this.shop.settings;
    for (;;) {
      const size = await this.shop.take(1 + Math.floor(batch / 2) + this.random.below(Math.ceil(batch / 2)));
      if (size === 0) return;
      const given: { command: StockCommand; answered(accepted: boolean): void }[] = [];
      while (given.length < size) given.push(this.#next());
      const replies = await this.apply(given.map(({ command }) => command));
      for (const [i, { answered }] of given.entries()) answered(isAccepted((replies[i] as Reply).outcome));
    }
  }

  #next(): { command: StockCommand; answered(accepted: boolean): void } {
    const { random } = this;
    const nothing = (): void => {};
    const dice = random.below(100);
    if (dice < 20 && this.#held.length > 0) {
      const line = take(this.#held, random);
      return { command: { kind: "pay", ...line }, answered: (paid) => paid && this.#paid.push(line) };
    }
    if (dice < 30 && this.#held.length > 0)
      return { command: { kind: "cancel", ...take(this.#held, random) }, answered: nothing };
    if (dice < 35 && this.#paid.length > 0)
      return { command: { kind: "cancel", ...take(this.#paid, random) }, answered: nothing };
    if (dice < 47 && this.#paid.length > 0)
      return { command: { kind: "outbound", ...take(this.#paid, random) }, answered: nothing };
    if (dice < 48 && this.#doomed.length > 0)
      return { command: { kind: "outbound", ...take(this.#doomed, random) }, answered: nothing };
    const id = this.id();
    const at = { id, ...this.place() };
    const line = { ...at, units: this.units() };
    if (dice < 50) return { command: { kind: "return", ...line }, answered: nothing };
    if (dice < 51) return { command: { kind: "pay", ...line }, answered: nothing };
    if (dice < 52) return { command: { kind: "reserve", ...line, sku: "SKU-NONE" }, answered: nothing };
    if (dice < 53)
      return {
        command: { kind: "correct", ...line, units: 1 - 2 * random.below(2), actor: "kt", reason: "count" },
        answered: nothing,
      };
    if (dice < 54)
      return {
        command: { kind: "move", ...line, from: "sellable", to: "safety", actor: "kt", reason: "shelf" },
        answered: nothing,
      };
    if (dice === 54)
      return { command: { kind: "acknowledge", ...at, actor: "kt", alertId: `${at.sku}#1` }, answered: nothing };
    if (dice < 58)
      return {
        command: { kind: "reserve", ...line, holdMs: SHORT_HOLD_MS },
        answered: (held) => held && this.shop.shortHolds.add(id),
      };
    const doomed = dice === 58;
    return {
      command: { kind: "reserve", ...line },
      answered: (held) => held && (doomed ? this.#doomed : this.#held).push(line),
    };
  }
}

/** A server's answer to an order as a whole. */
interface SentAnswer {
  outcome: string;
  repeated: boolean;
  sentMs: number;
}

interface OpenOrder {
  id: string;
  lines: Omit<Line, "id">[];
}

/** Places orders of several lines over several partitions, and pays, cancels and sends them out as a whole. */
class Orderer extends Client {
  readonly #held: OpenOrder[] = [];
  readonly #paid: OpenOrder[] = [];

  async run(): Promise<void> {
    for (;;) {
      const dice = this.random.below(100);
      let going: boolean;
      if (dice < 30 && this.#held.length > 0) {
        const order = take(this.#held, this.random);
        going = await this.#step(order, "payment", "pay", () => this.#paid.push(order));
      } else if (dice < 40 && this.#held.length > 0)
        going = await this.#step(take(this.#held, this.random), "cancellation", "cancel");
      else if (dice < 45 && this.#paid.length > 0)
        going = await this.#step(take(this.#paid, this.random), "cancellation", "cancel");
      else if (dice < 60 && this.#paid.length > 0)
        going = await this.#step(take(this.#paid, this.random), "outbound", "outbound");
      else going = await this.#placeNew();
      if (!going) return;
    }
  }

  async #placeNew(): Promise<boolean> {
    const count = await this.shop.take(2 + this.random.below(4));
    if (count === 0) return false;
    const order: OpenOrder = {
      id: this.id(),
      lines: Array.from({ length: count }, () => ({ ...this.place(), units: this.units() })),
    };
    const body = Buffer.from(JSON.stringify(order));
    const send = () => this.#send(order, "/v1/orders", body);
    const accepted = await this.#note(order, "reserve", send);
    if (accepted) this.#held.push(order);
    return true;
  }

  async #step(order: OpenOrder, path: string, kind: StockCommand["kind"], accepted?: () => void): Promise<boolean> {
    const count = await this.shop.take(order.lines.length);
    if (count < order.lines.length) {
      // The last few commands of all are too few for this.
      if (count > 0) {
        const place = () => ({ id: this.id(), ...this.place(), units: this.units() });
        await this.apply(Array.from({ length: count }, () => ({ kind: "return", ...place() })));
      }
      return false;
    }
    if (await this.#note(order, kind, () => this.#send(order, `/v1/orders/${order.id}/${path}`, undefined)))
      accepted?.();
    return true;
  }

  async #send(order: OpenOrder, path: string, body: Buffer | undefined): Promise<SentAnswer> {
    const type = body === undefined ? undefined : "application/json";
    const { status, body: answered, sentMs } = await this.shop.ask(path, type, body, this.api);
    const answer = JSON.parse(answered.toString("utf8")) as Partial<OrderReply> & { code?: Outcome };
    if (status === 200 || status === 201)
      return { outcome: answer.outcome ?? "", repeated: answer.repeated ?? false, sentMs };
    if (answer.code === undefined || status >= 500 || status === 400)
      throw new Error(`${path} of ${JSON.stringify(order)}: ${status} ${answered.toString("utf8")}`);
    return { outcome: answer.code, repeated: false, sentMs };
  }

  async #note(order: OpenOrder, kind: StockCommand["kind"], send: () => Promise<SentAnswer>): Promise<boolean> {
    const { outcome, repeated, sentMs } = await send();
    const accepted = isAccepted(outcome as Outcome);
    const atMs = performance.now();
    const ids = order.lines.map((line, i) => ({ id: `${order.id}-${i + 1}`, sku: line.sku }));
    for (const { id, sku } of ids)
      this.shop.note({
        id,
        kind,
        type: EVENT_TYPES[kind],
        sku,
        accepted,
        outcome,
        repeated,
        ofOrder: true,
        sentMs,
        atMs,
      });
    if (this.twice()) {
      const again = await send();
      for (const { id } of ids)
        this.shop.noteAgain(id, kind, isAccepted(again.outcome as Outcome), again.outcome, again.repeated);
    }
    return accepted;
  }
}

function take<T>(items: T[], random: Random): T {
  const at = random.below(items.length);
  const taken = items[at] as T;
  items[at] = items[items.length - 1] as T;
  items.pop();
  return taken;
}

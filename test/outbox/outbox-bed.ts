/**
 * What tests of the outbox use: the toy topic's real runner, whose job emits for each event; a receiver whose answers
 * a test sets, or one that sends HTTP to a server which records when each request came; and outboxes with settings fit
 * for tests.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Packr } from "msgpackr";
import { type WmsClient, wmsClient } from "../../connectors/wms/client.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { Outbox, type OutboxOptions } from "../../engine/outbox/outbox.js";
import type { Delivery, DeliveryOutcome, Receiver } from "../../engine/outbox/receiver.js";
import type { PartitionKeys } from "../../engine/stream/keys.js";
import { connect, type RedisClient } from "../../engine/stream/redis.js";

export const SINK = "wms";

/** A request as the server saw it. */
export interface Arrival {
  readonly key: string;
  readonly body: string;
  readonly atMs: number;
  readonly status: number;
}

export interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
  /** How long until it goes out; Infinity: never. */
  inMs?: number;
}

/** A receiving system: takes each key once, as a correct WMS does, and answers as the test sets. */
export class ReceivingServer {
  readonly arrivals: Arrival[] = [];
  /** Bodies taken, by idempotency key. */
  readonly taken = new Map<string, string>();
  answer: (key: string, body: string) => Answer = () => ({ status: 200 });
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const atMs = performance.now();
      let body = "";
      request.setEncoding("utf8").on("data", (part: string) => {
        body += part;
      });
      request.on("end", () => {
        const key = String(request.headers["idempotency-key"]);
        const { status, headers = {}, body: answerBody = "", inMs = 0 } = this.answer(key, body);
        this.arrivals.push({ key, body, atMs, status });
        if (status < 300) this.taken.set(key, body);
        const reply = () => {
          response.writeHead(status, headers);
          response.end(answerBody);
        };
        if (inMs === 0) reply();
        else if (Number.isFinite(inMs)) setTimeout(reply, inMs);
      });
    });
  }

  async open(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return this.url;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The most requests that came within any second. */
  busiestSecond(): number {
    const times = this.arrivals.map(({ atMs }) => atMs);
    let most = 0;
    for (let first = 0, last = 0; last < times.length; last++) {
      while ((times[last] as number) - (times[first] as number) >= 1_000) first++;
      most = Math.max(most, last - first + 1);
    }
    return most;
  }
}

/** Delivers over HTTP; the idempotency key is the delivery's id. */
export function httpReceiver(url: string, more: Partial<Receiver> = {}): Receiver & { client: WmsClient } {
  const client = wmsClient({ url, timeoutMs: 10_000, connections: 64 });
  return {
    name: SINK,
    wants: (kind) => kind === "seen",
    deliver: ({ id, key, payload }, signal) => client.post("/", JSON.stringify({ key, payload }), id, signal),
    client,
    ...more,
  };
}

/** Records what comes, and answers as the test sets. */
export function notingReceiver(
  answer: (delivery: Delivery, tries: number) => DeliveryOutcome | Promise<DeliveryOutcome> = () => ({
    outcome: "done",
  }),
): Receiver & { sent: Delivery[] } {
  const sent: Delivery[] = [];
  const tries = new Map<string, number>();
  return {
    name: SINK,
    wants: (kind) => kind === "seen",
    sent,
    async deliver(delivery) {
      sent.push(delivery);
      const number = (tries.get(delivery.id) ?? 0) + 1;
      tries.set(delivery.id, number);
      return answer(delivery, number);
    },
  };
}

export function outboxOptions(
  redis: RedisClient,
  url: string,
  prefix: string,
  receiver: Receiver,
  more: Partial<OutboxOptions> = {},
): OutboxOptions & { troubles: string[] } {
  const troubles: string[] = [];
  return {
    receiver,
    topic: "toys",
    partitions: 1,
    prefix,
    redis,
    openReader: () => connect({ url }, true),
    owner: "one",
    clock: systemClock,
    leaseMs: 1_000,
    limitPerSecond: 20_000,
    inFlight: 64,
    onTrouble: (message) => troubles.push(message),
    troubles,
    ...more,
  };
}

export function startOutbox(options: OutboxOptions): Outbox {
  const outbox = new Outbox(options);
  outbox.start();
  return outbox;
}

/** Ordinary dead letters of a sink without entries, as many as given. */
export async function fillDeadLetters(client: RedisClient, sink: PartitionKeys, count: number): Promise<void> {
  const packed = new Packr({ useRecords: false }).pack({ offset: 1, reason: "refused", tries: 1 });
  const pipeline = client.pipeline();
  for (let i = 0; i < count; i++) pipeline.xadd(sink.deadLetters, "*", "d", packed);
  await pipeline.exec();
}

/**
 * Receivers against their contract: the WMS with its sandbox, and one that takes several deliveries with one request,
 * whose outside system is in memory, because the product has none of that kind.
 */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { loadContract, WMS_CONTRACT, wmsClient, wmsReceiver } from "../../connectors/wms/index.js";
import { WmsSandbox, type WmsSandboxSettings } from "../../connectors/wms/sandbox.js";
import { PICK_EMIT, WITHDRAW_EMIT } from "../../engine/jobs/order-flow/job.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import type { Delivery, DeliveryOutcome, Receiver } from "../../engine/outbox/receiver.js";
import { describeReceiver } from "./receiver.js";

const TOKEN = "a-wrong-secret-of-this-test";
const contract = await loadContract(WMS_CONTRACT);
const PLACED_MS = Date.UTC(2026, 5, 17, 16);
const FAST = { msPerCharacter: 0.01, baseMs: 0 };

/** What the receiver uses of the order store; every order is locked. */
const orderStore = {
  recordDelivered: async (steps: readonly unknown[]) => steps.map(() => "recorded" as const),
  markDeadLetters: async () => {},
  waiting: { correct: async () => false },
  status: async () => ({ hasStep: (step: string) => step === "locked" }),
};

const pickOf = (number: number, lines: readonly object[]): Delivery => {
  const key = chainIdFromNumber("WB", PLACED_MS, number);
  const payload = { order: key, placedMs: PLACED_MS, paidMs: PLACED_MS, lines };
  return { id: `orders/00/${number}.0`, kind: PICK_EMIT, key, atMs: 1, payload };
};

describeReceiver(
  "the WMS",
  {
    kinds: [PICK_EMIT, WITHDRAW_EMIT],
    batch: false,
    recognisesRepeats: true,
    retryAfterMs: 1_000,
    secrets: [TOKEN],
  },
  async () => {
    const ends: (() => unknown)[] = [];
    const sandboxes: WmsSandbox[] = [];
    const started = async (settings: WmsSandboxSettings = {}): Promise<WmsSandbox> => {
      const sandbox = new WmsSandbox({ parser: FAST, ...settings });
      await sandbox.start();
      sandboxes.push(sandbox);
      ends.push(() => sandbox.stop());
      return sandbox;
    };
    const receiverOf = (url: string): Receiver => {
      const client = wmsClient({ url, token: TOKEN, timeoutMs: 10_000, connections: 8 });
      ends.unshift(() => client.close());
      const objects = { put: async () => {} };
      return wmsReceiver({ client, contract, objects, orderStore, settle: async () => {}, onPicking: () => {} });
    };
    const main = await started();
    return {
      receiver: receiverOf(main.url),
      delivery: (number) => pickOf(number, [{ sku: "TEA-01", location: "SHA", units: 1 }]),
      badDelivery: (number) => pickOf(number, []),
      async unreachable() {
        const gone = await started();
        await gone.stop();
        return receiverOf(gone.url);
      },
      throttled: async () => receiverOf((await started({ limitPerSecond: 0 })).url),
      async failing() {
        const behindGateway = await started();
        behindGateway.setProxy(() => ({ status: 502 }));
        return receiverOf(behindGateway.url);
      },
      // Its parser never comes to an end.
      silent: async () => receiverOf((await started({ time: { nowMs: () => 0, at: () => {} } })).url),
      async losingAnswer() {
        const { url, close } = await cutOffAnswers(main.url);
        ends.unshift(close);
        return receiverOf(url);
      },
      requests: () => sandboxes.reduce((sum, sandbox) => sum + sandbox.report().arrived, 0),
      actions(key) {
        const { orders, duplicates } = main.report();
        return orders.some(([order]) => order === key) ? 1 + duplicates : 0;
      },
      async close() {
        for (const end of ends) await end();
      },
    };
  },
);

/** A proxy that passes requests on, and ends the connection when an answer comes. */
async function cutOffAnswers(to: string): Promise<{ url: string; close(): Promise<unknown> }> {
  const { hostname, port } = new URL(to);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const behind = connect(Number(port), hostname);
    client.pipe(behind);
    behind.on("data", () => client.destroy());
    for (const socket of [client, behind]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    }
    client.on("close", () => behind.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

type Way = "works" | "unreachable" | "throttled" | "failing" | "silent" | "losing answers";

/** An outside system that takes several orders with one request and each key once. */
class BulkSystem {
  requests = 0;
  readonly #actions = new Map<string, number>();

  actions(key: string): number {
    return this.#actions.get(key) ?? 0;
  }

  async request(way: Way, deliveries: readonly Delivery[], signal: AbortSignal): Promise<DeliveryOutcome[]> {
    const all = (outcome: DeliveryOutcome): DeliveryOutcome[] => deliveries.map(() => outcome);
    if (signal.aborted) return all({ outcome: "retry", reason: "stopped before it was sent" });
    if (way === "unreachable") return all({ outcome: "retry", reason: "cannot be reached" });
    this.requests++;
    if (way === "throttled") return all({ outcome: "retry", reason: "too many requests", throttled: true });
    const noAnswer = { outcome: "retry", reason: "no answer came", mayHaveArrived: true } as const;
    if (way === "failing") return all(noAnswer);
    if (way === "silent") {
      await once(signal, "abort");
      return all(noAnswer);
    }
    const outcomes = deliveries.map(({ key, payload }): DeliveryOutcome => {
      if (payload === "bad") return { outcome: "refused", reason: "is no order" };
      this.#actions.set(key, 1);
      return { outcome: "done" };
    });
    return way === "works" ? outcomes : all(noAnswer);
  }
}

describeReceiver(
  "a system with bulk requests",
  { kinds: ["order"], batch: true, recognisesRepeats: true, secrets: [] },
  async () => {
    const system = new BulkSystem();
    const open = (way: Way): Receiver => ({
      name: "bulk",
      wants: (kind) => kind === "order",
      batch: { deliveries: 5 },
      deliver: async (delivery, signal) => (await system.request(way, [delivery], signal))[0] as DeliveryOutcome,
      deliverBatch: (deliveries, signal) => system.request(way, deliveries, signal),
    });
    const deliveryOf = (number: number, payload: string): Delivery => {
      const key = `${payload}-${number}`;
      return { id: `toys/00/${number}.0`, kind: "order", key, atMs: 1, payload };
    };
    return {
      receiver: open("works"),
      delivery: (number) => deliveryOf(number, "good"),
      badDelivery: (number) => deliveryOf(number, "bad"),
      unreachable: async () => open("unreachable"),
      throttled: async () => open("throttled"),
      failing: async () => open("failing"),
      silent: async () => open("silent"),
      losingAnswer: async () => open("losing answers"),
      requests: () => system.requests,
      actions: (key) => system.actions(key),
      close: async () => {},
    };
  },
);

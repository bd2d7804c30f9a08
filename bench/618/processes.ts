/**
 * The processes of a replay: buyers, warehouse and the shop as it was each run by themselves, so that no stall of one
 * is a stall of another's clock. This file is both ends: `startProcess` starts one and asks it, and run as a program
 * it is one. A process ends with its parent.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { INCIDENT } from "../../connectors/wms/sandbox/parser.js";
import { type WmsReport, WmsSandbox } from "../../connectors/wms/sandbox.js";
import { Buyers, type BuyersReport } from "./buyers.js";
import { Edge, requestBytes } from "./edge.js";
import { type HourOrder, INCIDENT_ORDERS, ordersOf } from "./orders.js";
import { type HourPace, ShopHour } from "./shop-hour.js";
import { startStorefront } from "./storefront.js";

export interface WarehouseOrder {
  role: "warehouse";
  pace: HourPace;
  /** Of the replay: in a small one the warehouse's queue is small, too. */
  orders: number;
  /** Shop milliseconds from and to which it is dead. */
  deadMs?: [from: number, to: number];
}

export interface StorefrontProcessOrder {
  role: "storefront";
  pace: HourPace;
  wmsPort: number;
}

export interface BuyersOrder {
  role: "buyers";
  pace: HourPace;
  port: number;
  orders: number;
  /** As it was one request does it all; as it is an order is placed and then paid. */
  shop: "as it was" | "as it is";
  token: string;
  /** For the ids: about now. */
  idMs: number;
}

type ProcessOrder = WarehouseOrder | StorefrontProcessOrder | BuyersOrder;
interface Message {
  kind: "ready" | "failed" | Asked["kind"];
  value: unknown;
}
type Asked = { kind: "begin"; startMs: number } | { kind: "report" } | { kind: "progress" };

const ENDED = "a process of the replay has ended by itself";
/** Connections that the edge keeps open before the rush: one for each buyer of its first second, and some. */
const WARM_LANES = 4_500;

/** A running process. */
class RunningProcess<Report, Progress = unknown> {
  readonly #child: ChildProcess;
  /** What it said when it was ready. */
  readonly port: number;

  constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** Sets 00:00: a real instant in milliseconds since the epoch. */
  async begin(startMs: number): Promise<void> {
    await ask(this.#child, { kind: "begin", startMs });
  }

  report(): Promise<Report> {
    return ask(this.#child, { kind: "report" }) as Promise<Report>;
  }

  progress(): Promise<Progress> {
    return ask(this.#child, { kind: "progress" }) as Promise<Progress>;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

export type Warehouse = RunningProcess<WmsReport, { picked: number }>;
export type BuyersProcess = RunningProcess<BuyersReport, { isOver: boolean }>;

/** Starts a process and waits until it is ready. `code` is the folder of the compiled modules. */
export async function startProcess<Report, Progress>(
  order: ProcessOrder,
  code = new URL("./", import.meta.url),
): Promise<RunningProcess<Report, Progress>> {
  const child = fork(new URL("processes.js", code), [ROLE_FLAG], { serialization: "advanced" });
  try {
    child.send(order);
    const { port } = (await answered(child, "ready")) as { port: number };
    return new RunningProcess(child, port);
  } catch (thrown) {
    child.kill("SIGKILL");
    throw thrown;
  }
}

async function ask(child: ChildProcess, what: Asked): Promise<unknown> {
  if (!child.connected) throw new Error(ENDED);
  const answer = answered(child, what.kind);
  child.send(what);
  return answer;
}

function answered(child: ChildProcess, kind: Message["kind"]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: Message) => {
      if (message.kind !== kind && message.kind !== "failed") return;
      child.off("message", onMessage).off("exit", onExit);
      if (message.kind === "failed") reject(new Error(String(message.value)));
      else resolve(message.value);
    };
    const onExit = () => reject(new Error(ENDED));
    child.on("message", onMessage).once("exit", onExit);
  });
}

// ---- the other end

const ROLE_FLAG = "--as-a-process-of-the-replay";

interface Role {
  port: number;
  hour: ShopHour;
  /** Called when the start of `hour` is set. */
  begin(): void;
  report(): unknown;
  progress(): unknown;
}

async function warehouse({ pace, orders, deadMs }: WarehouseOrder): Promise<Role> {
  const hour = new ShopHour(pace);
  const queueLimit = Math.ceil((INCIDENT.queueLimit * orders) / INCIDENT_ORDERS);
  const wms = new WmsSandbox({ time: hour, parser: { queueLimit } });
  await wms.start();
  return {
    port: Number(new URL(wms.url).port),
    hour,
    begin() {
      if (deadMs === undefined) return;
      hour.at(deadMs[0], () => void wms.stop());
      hour.at(deadMs[1], () => void wms.start());
    },
    report: () => wms.report(),
    progress: () => ({ picked: wms.accepted }),
  };
}

async function storefront({ pace, wmsPort }: StorefrontProcessOrder): Promise<Role> {
  const hour = new ShopHour(pace);
  const { port } = await startStorefront({ wmsPort, hour });
  return { port, hour, begin() {}, report: () => ({}), progress: () => ({}) };
}

async function buyers({ pace, port, orders, shop, token, idMs }: BuyersOrder): Promise<Role> {
  const host = `127.0.0.1:${port}`;
  const place = ({ id, lines, shipTo }: HourOrder) => requestBytes(host, "/v1/orders", token, { id, lines, shipTo });
  const nextSteps = (order: HourOrder) =>
    shop === "as it was"
      ? [{ waitMs: order.placedMs, request: place(order) }]
      : [
          { waitMs: order.placedMs, request: place(order) },
          { waitMs: order.payAfterMs, request: requestBytes(host, `/v1/orders/${order.id}/payment`, token, undefined) },
        ];
  const edge = new Edge(port);
  await edge.warm(Math.min(WARM_LANES, orders));
  const hour = new ShopHour(pace);
  const all = new Buyers(hour, edge, ordersOf(idMs, orders), nextSteps);
  let isOver = false;
  void all.over.then(() => {
    isOver = true;
  });
  return { port: 0, hour, begin: () => all.start(), report: () => all.report(), progress: () => ({ isOver }) };
}

async function run(order: ProcessOrder): Promise<Role> {
  switch (order.role) {
    case "warehouse":
      return warehouse(order);
    case "storefront":
      return storefront(order);
    case "buyers":
      return buyers(order);
  }
}

if (process.argv.includes(ROLE_FLAG)) {
  const send = (message: Message) => process.send?.(message);
  process.once("disconnect", () => process.exit());
  // The terminal's Ctrl-C reaches everybody; the parent decides what to do about it.
  process.on("SIGINT", () => {});
  process.once("message", (order: ProcessOrder) => {
    run(order).then(
      (role) => {
        process.on("message", (what: Asked) => {
          if (what.kind === "begin") role.hour.begin(what.startMs);
          send({ kind: what.kind, value: role[what.kind]() });
        });
        send({ kind: "ready", value: { port: role.port } });
      },
      (thrown) => send({ kind: "failed", value: thrown }),
    );
  });
}

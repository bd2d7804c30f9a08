/**
 * The breaker that opens by itself while processes are killed under it (R14): a snapshot parts from the ledger, the
 * worker that runs the comparison and a server die by force, and again while the breaker is open. From the first
 * answer on that calls it open everywhere, not one order of 64 clients that never pause is accepted, whichever server
 * they ask, until the sources agree again and a comparison closes it. Payments, cancellations and parcels go on all
 * the time.
 */
import { afterEach, describe, expect, it } from "vitest";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { Bed, planSeed, TOKEN } from "./bed.js";

const CLIENTS = 64;
const UNITS = 100_000;
const SKUS = Array.from({ length: 16 }, (_, i) => `SKU-${i}`);
const LOST_UNITS = 40_000;
const patience = { timeout: 60_000, interval: 50 };
const seed = planSeed();
let bed: Bed;

afterEach(() => bed.close());

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
  json: any;
}

/** One request to any server; one that is away is left out, and so is an answer that got lost. */
async function ask(
  api: string,
  method: string,
  path: string,
  body?: string,
  type = "application/json",
): Promise<Answer> {
  const headers = { authorization: `Bearer ${TOKEN}`, ...(body === undefined ? {} : { "content-type": type }) };
  try {
    const response = await fetch(api + path, { method, headers, ...(body === undefined ? {} : { body }) });
    const text = await response.text();
    return { status: response.status, json: text === "" ? undefined : JSON.parse(text) };
  } catch {
    return { status: 0, json: undefined };
  }
}

const anywhere = async (method: string, path: string, body?: string, type?: string): Promise<Answer> => {
  for (const api of bed.apis) {
    const answer = await ask(api, method, path, body, type);
    if (answer.status !== 0) return answer;
  }
  return { status: 0, json: undefined };
};

const newId = (): string => chainId("WB", systemClock.now());
const orderOf = (sku: string, id = newId()): string =>
  JSON.stringify({ id, lines: [{ sku, location: "main", units: 1 }] });

/** The WMS reports what the ledger has, as of a moment ago, but for lost units. */
async function report(lostUnits: number): Promise<void> {
  // No event is so near to the instant that it may explain a gap.
  await sleep(5_000);
  const asOf = new Date(systemClock.now() - 2_500).toISOString();
  const ledger = bed.ledger();
  const rows = await Promise.all(
    SKUS.map(async (sku, i) => {
      const balances = (await ledger.balances(sku))?.get("main");
      const { sellable = 0, reserved = 0, committed = 0, safety = 0 } = balances ?? {};
      return { sku, location: "main", units: sellable + reserved + committed + safety - (i === 0 ? lostUnits : 0) };
    }),
  );
  const query = new URLSearchParams({
    id: `r-${systemClock.now()}`,
    asOf,
    measure: "on_hand",
    rows: String(rows.length),
  });
  const body = rows.map((row) => JSON.stringify(row)).join("\n");
  await expect
    .poll(
      async () => (await anywhere("POST", `/v1/snapshots/wms?${query}`, body, "application/x-ndjson")).json,
      patience,
    )
    .toMatchObject({ outcome: "complete" });
}

/** Whether a server says that the shop's breaker is open in every partition. */
async function isOpenEverywhere(): Promise<boolean> {
  const { json } = await anywhere("GET", "/v1/breaker");
  return (
    json?.breakers?.some(
      (each: { scope: { kind: string }; complete: boolean }) => each.scope.kind === "shop" && each.complete,
    ) === true
  );
}

describe.each([1, 4])("with %i partitions", (partitions) => {
  it("opens once for good, whoever dies, and closes by a comparison", async () => {
    const random = seededRandom(seed);
    bed = await Bed.open({
      partitions,
      leaseMs: 1_000,
      appendfsync: "always",
      apiArguments: ["--default-location", "main"],
    });
    await bed.startAll(["api", "api", "worker", "worker"]);
    const receipts = SKUS.map((sku) =>
      JSON.stringify({ kind: "receive", id: newId(), sku, location: "main", units: UNITS }),
    );
    await anywhere("POST", "/v1/commands", `${receipts.join("\n")}\n`, "application/x-ndjson");
    await report(0);

    // Orders from before, to be paid, cancelled and sent while the breaker is open.
    const held = Array.from({ length: 12 }, newId);
    for (const id of held) {
      const place = async () => (await anywhere("POST", "/v1/orders", orderOf("SKU-1", id))).status;
      await expect.poll(async () => [200, 201].includes(await place()), patience).toBe(true);
    }

    let phase: "before" | "open" | "closing" | "over" = "before";
    const accepted = { before: 0, open: 0, closing: 0, over: 0 };
    const clients = Array.from({ length: CLIENTS }, async (_, number) => {
      const choices = seededRandom(seed + number);
      while (phase !== "over") {
        const sentIn = phase;
        const { status } = await ask(choices.pick(bed.apis), "POST", "/v1/orders", orderOf(choices.pick(SKUS)));
        if (status === 201) accepted[sentIn]++;
        await sleep(status === 0 ? 100 : 10 + choices.below(20));
      }
    });
    let kills = 0;
    const killing = (async () => {
      while (phase === "before" || phase === "open") {
        random.pick(bed.of("worker")).kill();
        kills++;
        if (random.below(2) === 0) random.pick(bed.of("api")).kill();
        // The other ones go on; two that are away at once would only be a pause.
        await sleep(500 + random.below(1_500));
        await Promise.all(bed.products.map((product) => product.untilReady()));
      }
    })();
    await report(LOST_UNITS);
    await expect.poll(isOpenEverywhere, patience).toBe(true);
    phase = "open";
    for (const [i, id] of held.entries()) {
      const path = i % 3 === 0 ? "cancellation" : "payment";
      await expect.poll(async () => (await anywhere("POST", `/v1/orders/${id}/${path}`)).status, patience).toBe(200);
      if (i % 3 !== 2) continue;
      await expect.poll(async () => (await anywhere("POST", `/v1/orders/${id}/outbound`)).status, patience).toBe(200);
    }
    await sleep(8_000);
    expect(accepted.open).toBe(0);
    expect(await isOpenEverywhere()).toBe(true);

    // The WMS has found its units, and an operator does not wait for the ten minutes.
    await report(0);
    phase = "closing";
    await killing;
    expect(kills).toBeGreaterThan(1);
    await Promise.all(bed.products.map((product) => product.untilReady()));
    const half = JSON.stringify({ action: "half_open", scope: { kind: "shop" }, actor: "li.wei", reason: "found" });
    await expect.poll(async () => (await anywhere("POST", "/v1/breaker", half)).status, patience).toBe(200);
    await expect.poll(async () => (await anywhere("GET", "/v1/breaker")).json?.open, patience).toBe(false);
    await expect.poll(async () => (await anywhere("POST", "/v1/orders", orderOf("SKU-2"))).status, patience).toBe(201);
    phase = "over";
    await Promise.all(clients);
    // The history follows: a breaker closes before its change is observed.
    const history = async (): Promise<Answer["json"][]> =>
      (await anywhere("GET", "/v1/breaker/history")).json?.events ?? [];
    await expect
      .poll(async () => (await history()).map(({ kind, by }) => `${kind} by ${by}`), patience)
      .toEqual(["closed by engine", "half_opened by operator", "opened by engine"]);
    expect((await history()).at(-1).evidence).toMatchObject({ pair: ["wms", "ledger"], skus: ["SKU-0"] });
    console.log(
      `seed ${seed}, ${partitions} partitions: ${kills} kills; orders accepted before, while open, after:`,
      accepted,
    );
    bed.expectNoCrash();
  });
});

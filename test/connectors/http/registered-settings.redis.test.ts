/** A setting that one job defines and reads: registered in one list, it is a setting of HTTP, commands and log. */
import { Packr, unpack } from "msgpackr";
import { expect, it } from "vitest";
import { SKU_SETTINGS } from "../../../engine/jobs/index.js";
import type { StockEvent } from "../../../engine/stock/model.js";
import { configured, type SettingsState, type SkuSetting, settingOf } from "../../../engine/stock/settings.js";
import { stockTopic } from "../../../engine/stock/topic.js";
import type { Job } from "../../../engine/stream/job.js";
import { stockKeys } from "../../../engine/stream/keys.js";
import { decodeState } from "../../../engine/stream/pack.js";
import { refold } from "../../jobs/refold.js";
import { freshId, httpBed } from "./http-bed.js";

const PACK_UNITS: SkuSetting = {
  name: "packUnits",
  default: 6,
  min: 1,
  max: 1_000,
  integer: true,
  unit: "units",
  about: "how many units are in one pack",
};

/** Counts packs that were received. */
const packs: Job<StockEvent, { packs: number; settings: SettingsState | null }> = {
  name: "packs.1",
  key: ({ type, sku }) => (type === "StockReceived" || type === "SkuConfigured" ? sku : undefined),
  initial: () => ({ packs: 0, settings: null }),
  onEvent(state, event) {
    if (event.type === "SkuConfigured") state.settings = configured(state.settings, event);
    else state.packs += event.units / settingOf(state.settings, PACK_UNITS);
  },
};

const bed = httpBed({ skuSettings: [...SKU_SETTINGS, PACK_UNITS] });
const packr = new Packr({ useRecords: false });

const bulk = async (...commands: object[]) => {
  const sent = { body: packr.pack(commands), headers: { "content-type": "application/msgpack" } };
  const answer = await bed.send("POST", "/v1/commands", sent);
  return answer.status === 200 ? unpack(answer.bytes) : answer.json;
};

async function packsOf(sku: string): Promise<number | undefined> {
  const { log } = stockKeys("t", bed.ledger.partitionOf(sku));
  const { states } = await refold(bed.redis, log, stockTopic(bed.ledger), [packs], () => {});
  const bytes = states.get(packs.name)?.get(sku);
  return bytes && (decodeState(bytes) as { packs: number }).packs;
}

it("reaches the job by bulk command, by SKU and by category, in the order own, category's, default", async () => {
  await bed.receive("P", 60);
  expect(await packsOf("P")).toBe(10);
  const id = freshId();
  const command = { kind: "configure", id, sku: "P", settings: { packUnits: 20, alertFactor: 4 } };
  expect(await bulk(command)).toMatchObject([{ id, outcome: "accepted", repeated: false }]);
  expect(await bulk(command)).toMatchObject([{ id, outcome: "accepted", repeated: true }]);
  expect(await bulk({ ...command, settings: { packUnits: 21, alertFactor: 4 } })).toMatchObject([
    { outcome: "id_reused" },
  ]);
  await bed.receive("P", 60);
  expect(await packsOf("P")).toBe(13);

  const body = { settings: { packUnits: 30 } };
  expect((await bed.send("PUT", "/v1/categories/cups/settings", { body })).json).toMatchObject({
    settings: { packUnits: 30 },
  });
  expect((await bed.send("PUT", "/v1/skus/Q/settings", { body: { category: "cups" } })).status).toBe(200);
  await bed.receive("Q", 60);
  expect(await packsOf("Q")).toBe(2);
  const own = await bed.send("PUT", "/v1/skus/Q/settings", { body: { settings: { packUnits: 60 } } });
  expect(own.json).toMatchObject({ sku: "Q", settings: { packUnits: 60 } });
  await bed.receive("Q", 60);
  expect(await packsOf("Q")).toBe(3);
});

it("is rejected with the name of the field when it is out of bounds, and nothing is applied", async () => {
  const command = { kind: "configure", id: freshId(), sku: "R", settings: { packUnits: 0.5 } };
  expect(await bulk(command)).toMatchObject({
    status: 400,
    errors: [{ field: "command 1: settings.packUnits", message: "must be a whole number" }],
  });
  const unknown = { ...command, settings: { packUnit: 5 } };
  expect(await bulk(unknown)).toMatchObject({ errors: [{ field: "command 1: settings.packUnit" }] });
  const put = await bed.send("PUT", "/v1/skus/R/settings", { body: { settings: { packUnits: 1_001 } } });
  expect(put.json).toMatchObject({ errors: [{ field: "settings.packUnits", message: "must be at most 1000" }] });
  expect(await packsOf("R")).toBeUndefined();
});

/**
 * Alerts that leave a whole engine by the endpoints of a configuration file (R11): from the deductions that deplete a
 * SKU to what receivers have, over HTTP, and back to the funnel. One endpoint that is down holds up no other.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AlertmanagerSandbox } from "../../connectors/alertmanager/sandbox.js";
import { WEBHOOK_SANDBOX, WebhookSandbox } from "../../connectors/webhook/sandbox.js";
import { NOTIFICATIONS_TOPIC } from "../../engine/alerting/notification.js";
import { NotificationsView } from "../../engine/jobs/notifications/view.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { systemClock } from "../../engine/kernel/clock.js";
import { withRedis } from "../redis/with-redis.js";
import { withEngines } from "./engine-builder.js";

const redis = withRedis();
const engines = withEngines();
const patience = { timeout: 30_000, interval: 50 };
const SKUS = ["CUP", "MUG", "POT"];

const hooks = new WebhookSandbox();
const monitoring = new AlertmanagerSandbox();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-channels-"));
  await hooks.start();
  await monitoring.start();
});
afterEach(async () => {
  await engines.stop();
  await hooks.stop();
  await monitoring.stop();
  await rm(folder, { recursive: true, force: true });
});

it("reach every endpoint that works, and acknowledgements too, whatever another does", async () => {
  const secret = { env: "HOOK" };
  const names = ["erp", "monitoring", "down"];
  const troubles: string[] = [];
  const alerts = join(folder, "alerts.json");
  await writeFile(
    alerts,
    JSON.stringify({
      endpoints: [
        { name: "erp", channel: "webhook", language: "en", connection: { url: `${hooks.url}/hooks`, secret } },
        { name: "down", channel: "webhook", connection: { url: "http://127.0.0.1:1/", secret } },
        { name: "monitoring", channel: "alertmanager", connection: { url: monitoring.url } },
      ],
      routes: [{ name: "all", levels: [{ afterMinutes: 0, to: names.map((name) => `endpoint:${name}`) }] }],
    }),
  );
  const engine = await engines.start({
    ...{ redisUrl: redis.url, prefix: "channels", options: { alerts, publicUrl: "https://stock.example" } },
    environment: (name) => (name === "HOOK" ? WEBHOOK_SANDBOX.secret : undefined),
    onTrouble: (message) => troubles.push(message),
  });
  engine.settings.onTrouble(`signed with ${WEBHOOK_SANDBOX.secret}`);
  expect(troubles.at(-1)).toBe("signed with ***");
  const { ledger } = engine.stock;
  const id = () => chainId("S1", systemClock.now());
  const notifications = engine
    .topic(NOTIFICATIONS_TOPIC)
    .views.find((view) => view instanceof NotificationsView) as NotificationsView;
  for (const sku of SKUS) await ledger.apply({ kind: "receive", id: id(), sku, location: "main", units: 500 });
  for (const sku of SKUS) await ledger.apply({ kind: "reserve", id: id(), sku, location: "main", units: 120 });

  await expect.poll(() => monitoring.open.map(({ labels }) => labels["subject"]).sort(), patience).toEqual(SKUS);
  const seen = () =>
    hooks.messages.flatMap(({ data }) => data.alerts.map(({ subject, state }) => `${subject} ${state}`));
  await expect.poll(() => seen().sort(), patience).toEqual(SKUS.map((sku) => `${sku} fired`));
  expect(hooks.messages[0]?.data.url).toMatch(/^https:\/\/stock\.example\/phone/);
  const accepted = () =>
    notifications
      .funnelsOf("CUP#1")
      .filter(({ acceptedMs }) => acceptedMs !== undefined)
      .map(({ to }) => to)
      .sort();
  await expect.poll(accepted, patience).toEqual(["erp", "monitoring"]);
  const warnings = () => engine.sinks.flatMap((sink) => sink.warnings());
  await expect.poll(warnings, patience).toEqual([expect.stringContaining("webhook does not deliver to down")]);

  await ledger.apply({
    kind: "acknowledge",
    id: id(),
    sku: "CUP",
    location: "main",
    actor: "li.wei",
    alertId: "CUP#1",
  });
  await expect.poll(seen, patience).toContain("CUP acknowledged");
  const acknowledged = () => monitoring.open.find(({ labels }) => labels["subject"] === "CUP")?.annotations;
  await expect.poll(acknowledged, patience).toMatchObject({ acknowledged_by: "li.wei", alert_id: "CUP#1" });
});

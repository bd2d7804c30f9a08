/** The configuration file of alerts: what it gives, and that every fault is reported with its place. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { afterAll, beforeAll, expect, it } from "vitest";
import { alertmanagerKind } from "../../../connectors/alertmanager/kind.js";
import { defineChannelKind } from "../../../connectors/channel.js";
import { assertChannelsOpen, loadChannels } from "../../../connectors/channels/configuration.js";
import { webhookKind } from "../../../connectors/webhook/kind.js";
import { systemClock } from "../../../engine/kernel/clock.js";
import { messageOf } from "../../../engine/kernel/errors.js";

/** A channel that reaches people. */
const mailKind = defineChannelKind({
  ...{ name: "mail", about: "mail", connection: Type.Object({}), reachesPeople: true, recognisesRepeats: false },
  traits: { perMinute: 5, confirmsDisplay: false, sendsChanges: false },
  limits: { perSecond: 10, inFlight: 1 },
  open: async () => ({ send: async () => ({ outcome: "accepted" }) }),
});
const SECRET = "whsec_c2FuZGJveC1zZWNyZXQtc2FuZGJveC1zZWNyZXQ=";
const lookup = {
  kinds: [webhookKind, alertmanagerKind, mailKind],
  env: (name: string) => ({ HOOK: SECRET, SHORT: "whsec_c2hvcnQ=" })[name],
};

let path: string;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shuiwei-alerts-"));
  path = join(folder, "alerts.json");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function load(json: unknown, publicUrl?: string) {
  await writeFile(path, typeof json === "string" ? json : JSON.stringify(json, undefined, 1));
  return loadChannels(path, publicUrl, lookup);
}
/** The faults of a file, each with its pointer. */
async function faultsOf(json: unknown): Promise<string[]> {
  const text = await load(json).then(
    () => "",
    (thrown) => messageOf(thrown),
  );
  return text
    .replaceAll(path, "")
    .split("; ")
    .map((fault) => fault.replace(/^:\d+ /, ""));
}
const hook = { name: "erp", channel: "webhook", connection: { url: "https://erp.example", secret: { env: "HOOK" } } };

it("gives endpoints with the traits of their channels, and routes", async () => {
  const monitoring = { name: "am", channel: "alertmanager", language: "en", connection: { url: "http://am:9093" } };
  const quiet = { ...hook, name: "quiet", sendsChanges: false };
  const people = { name: "office", channel: "mail", connection: {} };
  const route = {
    name: "night",
    match: { rules: ["depletion"], hours: { from: "22:30", to: "07:00" } },
    levels: [
      { afterMinutes: 0, to: ["role:purchasing", "endpoint:erp"] },
      { afterMinutes: 2.5, to: ["everybody", "person:li.wei"] },
    ],
  };
  const { publicUrl, directory, connections, secrets } = await load(
    { endpoints: [hook, monitoring, quiet, people], routes: [route] },
    "https://stock.example/",
  );
  expect([publicUrl, secrets]).toEqual(["https://stock.example", [SECRET, SECRET]]);
  expect(directory.endpoints).toEqual([
    { name: "erp", channel: "webhook", language: "zh", traits: webhookKind.traits },
    { name: "am", channel: "alertmanager", language: "en", traits: alertmanagerKind.traits },
    { name: "quiet", channel: "webhook", language: "zh", traits: { ...webhookKind.traits, sendsChanges: false } },
  ]);
  expect([...directory.personChannels]).toEqual([["mail", mailKind.traits]]);
  expect([...connections.keys()]).toEqual(["webhook", "alertmanager", "mail"]);
  expect(directory.routes).toEqual([
    {
      name: "night",
      match: { rules: ["depletion"], hours: { fromMinute: 1_350, toMinute: 420 } },
      levels: [
        { afterMs: 0, to: ["role:purchasing", "endpoint:erp"] },
        { afterMs: 150_000, to: ["everybody", "person:li.wei"] },
      ],
    },
  ]);
});

it("may be empty", async () => {
  const { directory } = await load({});
  expect(directory).toMatchObject({ endpoints: [], routes: [] });
});

it("reports every fault with its place", async () => {
  const office = { name: "office", channel: "mail", connection: {} };
  const faults = await faultsOf({
    endpoints: [
      { ...hook, channel: "webhok" },
      { ...hook, connection: { url: "https://erp.example", secret: "whsec_in-the-file" } },
      { ...hook, name: "Other", connection: { url: "https://a.example", secret: { env: "MISSING" } } },
      { ...hook, name: "am", channel: "alertmanager", sendsChanges: false, connection: { url: "http://am" } },
      office,
      null,
    ],
    routes: [
      { name: "a", match: { rules: ["deplete"] }, levels: [] },
      { name: "b", levels: [{ afterMinutes: 1, to: ["endpoint:nobody", "endpoint:office", "all"] }] },
      {
        name: "c",
        levels: [{ afterMinutes: 1, to: ["endpoint:nobody", "endpoint:office", "everybody", "everybody"] }],
      },
      {
        name: "c",
        match: { hours: { from: "08:00", to: "08:00" } },
        levels: [
          { afterMinutes: 0, to: ["everybody"] },
          { afterMinutes: 0, to: ["everybody"] },
        ],
      },
    ],
  });
  expect(faults.sort()).toMatchInlineSnapshot(`
    [
      "/endpoints/0/channel: is "webhok", and must be one of webhook, alertmanager, mail",
      "/endpoints/1/connection/secret must be the signing secret, whsec_ and 24 to 64 bytes in base64: {"env": "NAME"} or {"file": "PATH"}",
      "/endpoints/1/name is "erp" as that of another endpoint",
      "/endpoints/2/connection/secret the variable MISSING is not set",
      "/endpoints/2/name is "Other", and must be 1 to 32 lower-case letters, digits and hyphens",
      "/endpoints/3/sendsChanges is false, and alertmanager needs the ends of alerts",
      "/endpoints/5 is null, and must be an object",
      "/routes/0/levels must have at least 1 entries",
      "/routes/0/match/rules/0 is "deplete", and must be one of depletion, breaker, order_exceptions, receiver_circuit, jobs_behind, dead_letters, redis_full",
      "/routes/1/levels/0/to/2 is "all", and must be "role:<role>", "person:<id>", "endpoint:<name>" or "everybody"",
      "/routes/2/levels/0/afterMinutes is 1, and must be 0 for the first level",
      "/routes/2/levels/0/to/0 is "endpoint:nobody", and no endpoint has this name",
      "/routes/2/levels/0/to/1 is "endpoint:office", and no endpoint has this name",
      "/routes/2/levels/0/to/3 is "everybody" a second time",
      "/routes/3/levels/1/afterMinutes is 0, and must be more than 0, as of the level before",
      "/routes/3/match/hours/to is "08:00" as "from": no minute of the day would match",
      "/routes/3/name is "c" as that of another route",
    ]
  `);
  expect(faults.join()).not.toContain("in-the-file");
});

it("reports what only the channel can check, without the secret", async () => {
  const configuration = await load({
    endpoints: [{ ...hook, connection: { ...hook.connection, secret: { env: "SHORT" } } }],
  });
  const opened = assertChannelsOpen(path, configuration, lookup, { clock: systemClock });
  await expect(opened).rejects.toThrow("channel webhook: endpoint erp /connection/secret: must be whsec_");
  await expect(opened).rejects.not.toThrow("c2hvcnQ");
});

it("rejects what is no JSON, with the line", async () => {
  await expect(load('{"endpoints": [\n,]}')).rejects.toThrow(":2: is not JSON");
});

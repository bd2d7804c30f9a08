/**
 * 500 alerts within a minute, three people with five channels each, receivers that fail half of the requests, and
 * every process of the product killed again and again between a send and its record. At the end each alert has been
 * accepted for each person by each channel, alone or in a summary; what came twice is counted for each channel, and is
 * seen once where the receiver recognises a repeat; no subscription is lost. SHUIWEI_SEED repeats a plan.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DINGTALK_SANDBOX } from "../../connectors/dingtalk/sandbox.js";
import { FEISHU_SANDBOX } from "../../connectors/feishu/sandbox.js";
import { WEBHOOK_SANDBOX } from "../../connectors/webhook/sandbox.js";
import { WECOM_SANDBOX } from "../../connectors/wecom/sandbox.js";
import type { DeliveryFunnel } from "../../engine/alerting/notification.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { sleep, stopwatch, systemClock } from "../../engine/kernel/clock.js";
import { seededRandom } from "../../engine/kernel/random.js";
import { Bed, planSeed, TOKEN } from "./bed.js";
import { Receivers } from "./receivers.js";

const ALERTS = 500;
const PEOPLE = ["li.wei", "chen.jie", "wang.fang"];
const CHANNELS = ["web-push", "wecom", "dingtalk", "feishu", "webhook"];
const MINUTE_MS = 60_000;
/** In an hour without a daily average these units fire an alert (R10). */
const UNITS = 100;
const KILL_EVERY_MS = 1_500;
/** DingTalk's 20 messages a minute, and the pauses of failing addresses. */
const PATIENCE_MS = 6 * MINUTE_MS;
/** What is still on its way then is delivered in peace, so that the test ends. */
const KILLING_MS = MINUTE_MS / 2;

const seed = planSeed();
const random = seededRandom(seed);
const receivers = new Receivers(random);
let bed: Bed;

const skuOf = (i: number): string => `SKU-${String(i).padStart(3, "0")}`;

beforeAll(async () => {
  await receivers.start(PEOPLE.length);
  bed = await Bed.open({
    partitions: 4,
    leaseMs: 1_000,
    appendfsync: "always",
    retention: "1h",
    productArguments: async (dir) => {
      const [alerts, ca] = [join(dir, "alerts.json"), join(dir, "push.pem")];
      await writeFile(alerts, JSON.stringify(configuration()));
      await writeFile(ca, receivers.push.certificate);
      return {
        arguments: [
          ...["--alerts", alerts, "--public-url", "https://stock.example"],
          ...["--vapid-subject", "mailto:ops@shop.com", "--push-hosts", receivers.push.host],
        ],
        environment: { ...SECRETS, ...feishuUrls(), NODE_EXTRA_CA_CERTS: ca },
      };
    },
  });
  await bed.startAll(["api", "worker", "worker"]);
});

afterAll(async () => {
  await bed?.close();
  await receivers.stop();
});

const SECRETS = {
  DINGTALK_TOKEN: DINGTALK_SANDBOX.token,
  DINGTALK_SECRET: DINGTALK_SANDBOX.secret,
  FEISHU_SECRET: FEISHU_SANDBOX.secret,
  WEBHOOK_SECRET: WEBHOOK_SANDBOX.secret,
  WECOM_SECRET: WECOM_SANDBOX.corpSecret,
};

/** The addresses of Feishu's bots are secrets, too. */
const feishuUrls = () =>
  Object.fromEntries(
    receivers.people.map(({ urls }, i) => [
      `FEISHU_URL_${i}`,
      `${urls.feishu}/open-apis/bot/v2/hook/${FEISHU_SANDBOX.hook}`,
    ]),
  );

/** The operator's file. */
function configuration(): object {
  const { corpId, agentId } = WECOM_SANDBOX;
  const wecom = { url: receivers.wecomUrl, corpId, agentId, secret: { env: "WECOM_SECRET" } };
  return {
    endpoints: [
      { name: "wecom", channel: "wecom", connection: wecom },
      ...receivers.people.flatMap(({ urls }, i) => {
        const dingTalk = {
          url: `${urls.dingTalk}/robot/send`,
          accessToken: { env: "DINGTALK_TOKEN" },
          secret: { env: "DINGTALK_SECRET" },
        };
        return [
          { name: `dingtalk-${i}`, channel: "dingtalk", connection: dingTalk },
          {
            name: `feishu-${i}`,
            channel: "feishu",
            connection: { url: { env: `FEISHU_URL_${i}` }, secret: { env: "FEISHU_SECRET" } },
          },
          {
            name: `webhook-${i}`,
            channel: "webhook",
            connection: { url: `${urls.webhook}/hooks`, secret: { env: "WEBHOOK_SECRET" } },
          },
        ];
      }),
    ],
    routes: [{ name: "all", match: {}, levels: [{ afterMinutes: 0, to: ["everybody"] }] }],
  };
}

interface Sent {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

/** A request that is repeated until a server answers it. */
async function call(path: string, { method = "GET", body, headers }: Sent = {}): Promise<Response> {
  for (const elapsed = stopwatch(); ; await sleep(100)) {
    try {
      const answer = await fetch(`${bed.apis[0]}${path}`, {
        method,
        ...(body === undefined ? {} : { body }),
        headers: headers ?? {
          authorization: `Bearer ${TOKEN}`,
          ...(body ? { "content-type": "application/json" } : {}),
        },
        signal: AbortSignal.timeout(10_000),
      });
      if (answer.status < 500) return answer;
      await answer.text();
      if (elapsed() > MINUTE_MS) throw new Error(`${method} ${path}: ${answer.status}`);
    } catch (thrown) {
      if (elapsed() > MINUTE_MS) throw thrown;
    }
  }
}

const json = (method: string, value: object): Sent => ({ method, body: JSON.stringify(value) });

/** Adds a person, pairs a phone, and registers its subscription. */
async function pair(person: string, i: number): Promise<void> {
  const ladder = [["web-push", "wecom", `endpoint:dingtalk-${i}`, `endpoint:feishu-${i}`, `endpoint:webhook-${i}`]];
  const about = {
    name: person,
    roles: ["purchasing"],
    language: i === 0 ? "zh" : "en",
    wecomUserId: `User${i}`,
    ladder,
  };
  expect((await call(`/v1/people/${person}`, json("PUT", about))).ok).toBe(true);
  const pairing = await call(`/v1/people/${person}/pairings`, json("POST", { label: "phone" }));
  const { code } = (await pairing.json()) as { code: string };
  const created = await call("/v1/sessions", {
    ...json("POST", { code }),
    headers: { "content-type": "application/json" },
  });
  const cookie = (created.headers.get("set-cookie") as string).split(";", 1)[0] as string;
  const { endpoint, keys } = receivers.push.subscribe();
  const subscription = json("POST", { endpoint, keys, label: "phone" });
  const headers = { cookie, "content-type": "application/json", origin: bed.apis[0] as string };
  expect((await call("/v1/push/subscriptions", { ...subscription, headers })).status).toBeLessThan(300);
}

/** Sends stock commands, each until it is answered; a repeat has the same ids. */
async function commands(list: readonly object[]): Promise<void> {
  const lines = list.map((each) => JSON.stringify(each)).join("\n");
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/x-ndjson" };
  const answer = await call("/v1/commands", { method: "POST", body: `${lines}\n`, headers });
  const outcomes = (await answer.text()).trim().split("\n");
  expect(outcomes.filter((line) => !line.includes('"accepted"'))).toEqual([]);
}

const command = (kind: string, i: number, units: number) => ({
  ...{ kind, id: chainId("FT", systemClock.now()), sku: skuOf(i), location: "main", units },
  ...(kind === "receive" ? { actor: "test", reason: "opening stock" } : {}),
});

/** The deliveries of an alert that a channel has accepted, as `<recipient> <channel>`. */
async function acceptedOf(i: number): Promise<Set<string>> {
  const answer = await call(`/v1/alerts/${encodeURIComponent(`${skuOf(i)}#1`)}`);
  if (answer.status !== 200) return new Set();
  const { deliveries } = (await answer.json()) as { deliveries: (DeliveryFunnel & { acceptedAt?: string })[] };
  return new Set(
    deliveries.flatMap(({ recipient, channel, acceptedAt }) => (acceptedAt ? [`${recipient} ${channel}`] : [])),
  );
}

it(
  "delivers 500 alerts in a minute by five channels to three people, whatever is killed",
  async () => {
    process.stdout.write(`notifications: seed ${seed}\n`);
    for (const [i, person] of PEOPLE.entries()) await pair(person, i);
    await commands(Array.from({ length: ALERTS }, (_, i) => command("receive", i, 1_000)));

    let isOver = false;
    let kills = 0;
    const killing = (async () => {
      while (!isOver) {
        await sleep(KILL_EVERY_MS / 2 + random.below(KILL_EVERY_MS));
        const product = random.pick(bed.products);
        if (!product.isReady) continue;
        product.kill();
        kills++;
      }
    })();
    const elapsed = stopwatch();
    for (let i = 0; i < ALERTS; i += 5) {
      await commands(Array.from({ length: 5 }, (_, k) => command("reserve", i + k, UNITS)));
      await sleep(Math.max(0, (i / ALERTS) * MINUTE_MS - elapsed()));
    }
    const firedMs = elapsed();

    const waiting = new Set(Array.from({ length: ALERTS }, (_, i) => i));
    const wanted = PEOPLE.flatMap((person) => CHANNELS.map((channel) => `person:${person} ${channel}`));
    for (const waited = stopwatch(); waiting.size > 0 && waited() < PATIENCE_MS; await sleep(1_000)) {
      if (waited() > KILLING_MS) isOver = true;
      for (const i of waiting) {
        const accepted = await acceptedOf(i);
        if (wanted.every((delivery) => accepted.has(delivery))) waiting.delete(i);
        else break;
      }
    }
    isOver = true;
    await killing;
    const missing: string[] = [];
    for (const i of waiting) {
      const accepted = await acceptedOf(i);
      missing.push(
        ...wanted.filter((delivery) => !accepted.has(delivery)).map((delivery) => `${skuOf(i)} ${delivery}`),
      );
    }
    report(kills, firedMs, elapsed());
    expect(missing).toEqual([]);
    const { people } = (await (await call("/v1/people")).json()) as { people: unknown[] };
    expect(people).toHaveLength(PEOPLE.length);
    expect(new Set(receivers.push.pushes.map(({ subscription }) => subscription)).size).toBe(PEOPLE.length);
    bed.expectNoCrash();
  },
  PATIENCE_MS + 4 * MINUTE_MS,
);

const doublesOf = (texts: readonly string[]): number => texts.length - new Set(texts).size;

/** Prints what arrived, and what a person saw twice. */
function report(kills: number, firedMs: number, tookMs: number): void {
  const { people, push, wecom } = receivers;
  const sum = (of: (receiver: (typeof people)[number]) => number) =>
    people.reduce((total, each) => total + of(each), 0);
  const pushIds = push.pushes.map(({ text, subscription }) => `${subscription} ${JSON.parse(text).shuiwei.messageId}`);
  const lines = [
    ["web-push", push.pushes.length, doublesOf(pushIds), "replaced on the screen by their tag"],
    ["wecom", wecom.messages.length, 0, `${wecom.repeats} repeats suppressed by WeCom`],
    [
      "webhook",
      sum(({ webhook }) => webhook.messages.length),
      0,
      `${sum(({ webhook }) => webhook.repeats)} repeats recognised by their id`,
    ],
    [
      "dingtalk",
      sum(({ dingTalk }) => dingTalk.messages.length),
      sum(({ dingTalk }) => doublesOf(dingTalk.messages.map(({ text }) => text))),
      "not recognised by the receiver",
    ],
    [
      "feishu",
      sum(({ feishu }) => feishu.messages.length),
      sum(({ feishu }) => doublesOf(feishu.messages.map(({ title, text }) => `${title} ${text}`))),
      "not recognised by the receiver",
    ],
  ] as const;
  process.stdout.write(
    `${kills} kills; fired in ${Math.round(firedMs / 1_000)} s, delivered after ${Math.round(tookMs / 1_000)} s\n${lines
      .map(([channel, messages, doubles, note]) => `${channel}: ${messages} messages, ${doubles} doubles (${note})`)
      .join("\n")}\n`,
  );
}

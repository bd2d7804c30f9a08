/**
 * Every channel of the product passes the suite of test/conformance/channel.ts.
 */
import { alertmanagerKind } from "../../connectors/alertmanager/kind.js";
import { AlertmanagerSandbox } from "../../connectors/alertmanager/sandbox.js";
import { dingTalkKind } from "../../connectors/dingtalk/kind.js";
import { DINGTALK_SANDBOX, DingTalkSandbox } from "../../connectors/dingtalk/sandbox.js";
import { feishuKind } from "../../connectors/feishu/kind.js";
import { FEISHU_SANDBOX, FeishuSandbox } from "../../connectors/feishu/sandbox.js";
import { webhookKind } from "../../connectors/webhook/kind.js";
import { WEBHOOK_SANDBOX, WebhookSandbox } from "../../connectors/webhook/sandbox.js";
import { wecomKind } from "../../connectors/wecom/application-kind.js";
import { wecomRobotKind } from "../../connectors/wecom/robot-kind.js";
import { WECOM_SANDBOX, WecomSandbox } from "../../connectors/wecom/sandbox.js";
import { PushBed } from "../connectors/web-push/bed.js";
import { channelParts, describeChannel } from "./channel.js";
import { TlsFront } from "./tls-front.js";
import { isThere, WecomFront } from "./wecom-front.js";

describeChannel(
  "webhook",
  { recognisesRepeats: true, readsAnswers: false, secrets: [WEBHOOK_SANDBOX.secret] },
  async () => {
    const sandbox = new WebhookSandbox();
    await sandbox.start();
    return {
      origin: sandbox.url,
      to: "erp",
      open: (origin, timeoutMs) => {
        const settings = { url: `${origin}/hooks`, secret: WEBHOOK_SANDBOX.secret };
        return webhookKind.open({ ...channelParts(timeoutMs), endpoints: [{ name: "erp", settings }] });
      },
      displayed: () => sandbox.messages.map((message) => JSON.stringify(message)),
      close: () => sandbox.stop(),
    };
  },
);

const PASSWORD = "alertmanager-password";

describeChannel(
  "alertmanager",
  { recognisesRepeats: true, readsAnswers: false, showsEachAlert: true, secrets: [PASSWORD] },
  async () => {
    const sandbox = new AlertmanagerSandbox();
    await sandbox.start();
    return {
      origin: sandbox.url,
      to: "monitoring",
      open: (origin, timeoutMs) => {
        const settings = { url: origin, user: "shuiwei", password: PASSWORD };
        return alertmanagerKind.open({ ...channelParts(timeoutMs), endpoints: [{ name: "monitoring", settings }] });
      },
      displayed: () => sandbox.all.map((alert) => JSON.stringify(alert)),
      close: () => sandbox.stop(),
    };
  },
);

describeChannel(
  "dingtalk",
  { recognisesRepeats: false, readsAnswers: true, secrets: Object.values(DINGTALK_SANDBOX) },
  async () => {
    const sandbox = new DingTalkSandbox();
    await sandbox.start();
    const { token: accessToken, secret } = DINGTALK_SANDBOX;
    return {
      origin: sandbox.url,
      to: "buyers",
      open: (origin, timeoutMs) => {
        const settings = { url: `${origin}/robot/send`, accessToken, secret };
        return dingTalkKind.open({ ...channelParts(timeoutMs), endpoints: [{ name: "buyers", settings }] });
      },
      displayed: () => sandbox.messages.map(({ title, text }) => `${title}\n${text}`),
      close: () => sandbox.stop(),
    };
  },
);

describeChannel(
  "feishu",
  { recognisesRepeats: false, readsAnswers: true, secrets: Object.values(FEISHU_SANDBOX) },
  async () => {
    const sandbox = new FeishuSandbox({ messagesPerSecond: 100 });
    await sandbox.start();
    const { hook, secret } = FEISHU_SANDBOX;
    return {
      origin: sandbox.url,
      to: "buyers",
      open: (origin, timeoutMs) => {
        const settings = { url: `${origin}/open-apis/bot/v2/hook/${hook}`, secret };
        return feishuKind.open({ ...channelParts(timeoutMs), endpoints: [{ name: "buyers", settings }] });
      },
      displayed: () => sandbox.messages.map(({ title, text }) => `${title}\n${text}`),
      close: () => sandbox.stop(),
    };
  },
);

describeChannel(
  "wecom-robot",
  { recognisesRepeats: false, readsAnswers: true, secrets: [WECOM_SANDBOX.robotKey] },
  async () => {
    const sandbox = new WecomSandbox();
    await sandbox.start();
    return {
      origin: sandbox.url,
      to: "buyers",
      open: (url, timeoutMs) => {
        const settings = { url, key: WECOM_SANDBOX.robotKey };
        return wecomRobotKind.open({ ...channelParts(timeoutMs), endpoints: [{ name: "buyers", settings }] });
      },
      displayed: () => sandbox.messages.map(({ text }) => text),
      close: () => sandbox.stop(),
    };
  },
);

describeChannel(
  "wecom",
  {
    recognisesRepeats: true,
    readsAnswers: true,
    secrets: [WECOM_SANDBOX.corpSecret, WECOM_SANDBOX.callbackToken, WECOM_SANDBOX.callbackAesKey],
  },
  async () => {
    const sandbox = new WecomSandbox({ members: ["LiWei"] });
    await sandbox.start();
    const { corpId, agentId, corpSecret: secret, callbackToken: token, callbackAesKey: aesKey } = WECOM_SANDBOX;
    const fronts: WecomFront[] = [];
    return {
      origin: sandbox.url,
      to: "LiWei",
      open: async (origin, timeoutMs) => {
        const front = await WecomFront.start(sandbox.url, origin);
        fronts.push(front);
        const url = (await isThere(origin)) ? front.url : origin;
        const settings = { url, corpId, agentId, secret, callback: { token, aesKey } };
        return wecomKind.open({ ...channelParts(timeoutMs), endpoints: [{ name: "app", settings }] });
      },
      displayed: () => sandbox.messages.map(({ text }) => text),
      async close() {
        for (const front of fronts) await front.stop();
        await sandbox.stop();
      },
    };
  },
);

const PUSH_TOKEN = "the-token-of-a-push-subscription";

describeChannel("web-push", { recognisesRepeats: false, readsAnswers: false, secrets: [PUSH_TOKEN] }, async () => {
  const bed = new PushBed();
  await bed.sandbox.start();
  const fronts: TlsFront[] = [];
  return {
    origin: bed.sandbox.url,
    to: "phone",
    open: async (origin, timeoutMs) => {
      const isSandbox = origin === bed.sandbox.url;
      const front = !isSandbox && (await isThere(origin)) ? await TlsFront.start(origin) : undefined;
      if (front) fronts.push(front);
      const host = isSandbox ? bed.sandbox.host : (front?.host ?? new URL(origin).host);
      const service = { host, certificate: front?.certificate ?? bed.sandbox.certificate };
      const { keys } = bed.sandbox.subscribe();
      const elsewhere = { endpoint: `https://${host}/${PUSH_TOKEN}`, keys };
      const channel = bed.open({ service, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
      const subscription = isSandbox ? bed.sandbox.subscribe() : elsewhere;
      return {
        send(outgoing, signal) {
          const [, person = ""] = /^person:([^/]+)/.exec(outgoing.message.id) ?? [];
          bed.add("phone", person, subscription);
          return channel.send(outgoing, signal);
        },
        close: () => channel.close(),
      };
    },
    displayed: () => bed.sandbox.pushes.map(({ text }) => text),
    async close() {
      for (const front of fronts) await front.stop();
      await bed.sandbox.stop();
    },
  };
});

/**
 * Sandboxes of channels for `shuiwei sandbox`: each prints the endpoint that reaches it, for the file of `--alerts`,
 * and once a minute how many messages it has taken.
 */
import type { SandboxFigures } from "../../connectors/sources/sandbox/server.js";
import { figure } from "./text.js";

/** A running sandbox, as the command prints it. */
export interface Sandbox {
  /** Printed at the start. */
  readonly usage: string;
  /** Printed once a minute. */
  report(): string;
  stop(): Promise<void>;
}

interface ChannelSandbox {
  readonly figures: SandboxFigures;
  readonly messages: readonly unknown[];
  start(): Promise<void>;
  stop(): Promise<void>;
}

type Start = (settings: { readonly port: number }) => Promise<Sandbox>;

export const CHANNEL_SANDBOXES = {
  webhook: startWebhook,
  alertmanager: startAlertmanager,
  dingtalk: startDingTalk,
  wecom: startWecom,
  feishu: startFeishu,
} as const satisfies Record<string, Start>;

/** @param secrets variables of the environment that the endpoint refers to */
async function started(
  sandbox: ChannelSandbox,
  endpoint: () => object,
  secrets: Readonly<Record<string, string>>,
): Promise<Sandbox> {
  await sandbox.start();
  const variables = Object.entries(secrets).map(([name, value]) => `${name}=${value}`);
  return {
    usage: `set ${variables.join(" ")}, and name this endpoint in the file of --alerts: ${JSON.stringify(endpoint())}`,
    report: () => {
      const { requests, throttled } = sandbox.figures;
      return `${figure(requests)} requests, ${figure(sandbox.messages.length)} messages kept, ${figure(throttled)} throttled`;
    },
    stop: () => sandbox.stop(),
  };
}

async function startWebhook({ port }: { readonly port: number }): Promise<Sandbox> {
  const { WEBHOOK_SANDBOX, WebhookSandbox } = await import("../../connectors/webhook/sandbox.js");
  const sandbox = new WebhookSandbox({ port });
  const connection = () => ({ url: `${sandbox.url}/hooks`, secret: { env: "WEBHOOK_SECRET" } });
  return started(sandbox, () => ({ name: "webhook", channel: "webhook", connection: connection() }), {
    WEBHOOK_SECRET: WEBHOOK_SANDBOX.secret,
  });
}

async function startAlertmanager({ port }: { readonly port: number }): Promise<Sandbox> {
  const { AlertmanagerSandbox } = await import("../../connectors/alertmanager/sandbox.js");
  const sandbox = new AlertmanagerSandbox({ port });
  await sandbox.start();
  const endpoint = { name: "alertmanager", channel: "alertmanager", connection: { url: sandbox.url } };
  return {
    usage: `name this endpoint in the file of --alerts: ${JSON.stringify(endpoint)}`,
    report: () => `${figure(sandbox.figures.requests)} requests, ${figure(sandbox.open.length)} open alerts`,
    stop: () => sandbox.stop(),
  };
}

async function startDingTalk({ port }: { readonly port: number }): Promise<Sandbox> {
  const { DINGTALK_SANDBOX, DingTalkSandbox } = await import("../../connectors/dingtalk/sandbox.js");
  const sandbox = new DingTalkSandbox({ port });
  const connection = () => ({
    url: `${sandbox.url}/robot/send`,
    accessToken: { env: "DINGTALK_TOKEN" },
    secret: { env: "DINGTALK_SECRET" },
  });
  return started(sandbox, () => ({ name: "dingtalk", channel: "dingtalk", connection: connection() }), {
    DINGTALK_TOKEN: DINGTALK_SANDBOX.token,
    DINGTALK_SECRET: DINGTALK_SANDBOX.secret,
  });
}

async function startWecom({ port }: { readonly port: number }): Promise<Sandbox> {
  const { WECOM_SANDBOX, WecomSandbox } = await import("../../connectors/wecom/sandbox.js");
  const sandbox = new WecomSandbox({ port });
  const { corpId, agentId, corpSecret, callbackToken, callbackAesKey } = WECOM_SANDBOX;
  const connection = () => ({
    ...{ url: sandbox.url, corpId, agentId, secret: { env: "WECOM_SECRET" } },
    callback: { token: { env: "WECOM_CALLBACK_TOKEN" }, aesKey: { env: "WECOM_CALLBACK_KEY" } },
  });
  return started(sandbox, () => ({ name: "wecom", channel: "wecom", connection: connection() }), {
    WECOM_SECRET: corpSecret,
    WECOM_CALLBACK_TOKEN: callbackToken,
    WECOM_CALLBACK_KEY: callbackAesKey,
  });
}

async function startFeishu({ port }: { readonly port: number }): Promise<Sandbox> {
  const { FEISHU_SANDBOX, FeishuSandbox } = await import("../../connectors/feishu/sandbox.js");
  const sandbox = new FeishuSandbox({ port });
  const connection = { url: { env: "FEISHU_URL" }, secret: { env: "FEISHU_SECRET" } };
  const channel = await started(sandbox, () => ({ name: "feishu", channel: "feishu", connection }), {
    FEISHU_SECRET: FEISHU_SANDBOX.secret,
  });
  const url = `${sandbox.url}/open-apis/bot/v2/hook/${FEISHU_SANDBOX.hook}`;
  return { ...channel, usage: channel.usage.replace("set ", `set FEISHU_URL=${url} `) };
}

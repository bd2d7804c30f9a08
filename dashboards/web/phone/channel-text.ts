/** The names of channels and contacts as people read them; those of a shop's configuration are shown unchanged. */
import type { PlainKey, Translate } from "../dictionary.js";

const CHANNELS: Readonly<Record<string, PlainKey>> = {
  "web-push": "channelWebPush",
  wecom: "channelWecom",
  "wecom-app": "channelWecom",
  "wecom-robot": "channelWecomRobot",
  dingtalk: "channelDingtalk",
  feishu: "channelFeishu",
  webhook: "channelWebhook",
};

/** Of a delivery: the channel, and the endpoint where it is one. @param to empty: the endpoint is not named */
export function channelText(text: Translate, channel: string, to: string): string {
  const key = CHANNELS[channel];
  const name = key === undefined ? channel : text(key);
  return channel === "web-push" || channel === "wecom" || to === "" ? name : `${name} ${to}`;
}

/** Of a step of a ladder: `web-push`, `wecom`, or `endpoint:<name>`. */
export function contactText(text: Translate, contact: string): string {
  if (contact.startsWith("endpoint:")) return text("channelEndpoint", { name: contact.slice("endpoint:".length) });
  return channelText(text, contact, "");
}

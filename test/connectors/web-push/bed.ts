/**
 * Web Push against its sandbox, for tests: one open channel with the devices of two people in memory, and messages.
 */

import { createECDH } from "node:crypto";
import type { OutgoingMessage } from "../../../connectors/channel.js";
import { ChannelHttp } from "../../../connectors/channels/http-client.js";
import { WebPushChannel } from "../../../connectors/web-push/channel.js";
import { pushHostPolicy } from "../../../connectors/web-push/push-hosts.js";
import { PushSandbox } from "../../../connectors/web-push/sandbox.js";
import type { PushSubscription } from "../../../connectors/web-push/subscription.js";
import type { VapidKeys } from "../../../connectors/web-push/vapid-keys.js";
import type { Alert } from "../../../engine/alerting/alert.js";
import type { RemovalReason } from "../../../engine/alerting/device-store.js";
import type { Message } from "../../../engine/alerting/notification.js";
import type { Device } from "../../../engine/alerting/people.js";
import { ManualClock } from "../../../engine/kernel/clock.js";

export const NOW_MS = Date.UTC(2026, 5, 18);
export const SUBJECT = "mailto:ops@shop.com";

export const alertOf = (sku: string, changed: Partial<Alert> = {}): Alert => ({
  ...{ id: `${sku}#1`, rule: "depletion", subject: sku, severity: "warning", state: "fired", firedMs: NOW_MS },
  ...{ figures: { hourUnits: 128, dailyAverage: 30, thresholdUnits: 90 } },
  ...changed,
});

export const messageOf = (alerts: readonly Alert[], changed: Partial<Message> = {}): Message => ({
  ...{ id: "person:li/1", type: alerts.length > 1 ? "summary" : "alert", alerts, total: alerts.length, language: "zh" },
  ...changed,
});

export function newKeys(): VapidKeys {
  const pair = createECDH("prime256v1");
  pair.generateKeys();
  const secret = Buffer.concat([Buffer.alloc(32), pair.getPrivateKey()]).subarray(-32);
  return { publicKey: pair.getPublicKey("base64url"), privateKey: secret.toString("base64url"), createdMs: NOW_MS };
}

/** Where pushes go: host and port, and a certificate authority. */
interface PushService {
  readonly host: string;
  readonly certificate: string;
}

export class PushBed {
  readonly sandbox = new PushSandbox();
  readonly devices = new Map<string, Device>();
  readonly accepted: string[] = [];
  readonly removed: [id: string, reason: RemovalReason][] = [];
  readonly troubles: string[] = [];
  readonly keys = newKeys();

  /** A device with a subscription of the sandbox. */
  add(id: string, person = "li", subscription: PushSubscription = this.sandbox.subscribe(this.keys.publicKey)): string {
    const of = { id, person, label: "iPhone", channel: "web-push", createdMs: NOW_MS } as const;
    this.devices.set(id, { ...of, address: subscription, displayedMs: 0, silentPushes: 0 });
    return id;
  }

  /**
   * @param isTrusted whether the operator has named the push service's host
   * @param service the sandbox when left out; its certificate is PEM
   */
  open({ isTrusted = true, timeoutMs = 2_000, service = this.sandbox as PushService } = {}): WebPushChannel {
    const trustedHosts = isTrusted ? [service.host] : [];
    return new WebPushChannel({
      devices: {
        get: async (id) => this.devices.get(id),
        accepted: async (id) => void this.accepted.push(id),
        remove: async (id, reason) => {
          this.removed.push([id, reason]);
          return this.devices.delete(id);
        },
      },
      ...{ subject: SUBJECT, keys: this.keys, hosts: pushHostPolicy([service.host]) },
      http: new ChannelHttp({
        ...{ reach: "public", connections: 4, timeoutMs, trustedHosts, ca: service.certificate },
      }),
      clock: new ManualClock(NOW_MS),
      onTrouble: (message) => void this.troubles.push(message),
    });
  }
}

export const outgoing = (to: string, message: Message = messageOf([alertOf("CUP")])): OutgoingMessage => ({
  ...{ message, to, url: "https://shop.com/phone#alert=CUP%231", ttlMs: 3_600_000, urgency: "normal" },
});

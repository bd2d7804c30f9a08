/**
 * Web Push (RFC 8030) to the devices of people: encrypted for one browser (RFC 8291), signed by this deployment (RFC
 * 8292), sent to the push service of the browser's vendor, which holds it until the browser fetches it. A device is
 * removed when its push service answers that there is no such subscription (404, 410), and for no other answer. What
 * is accepted may never be displayed: the page's service worker reports the display.
 */
import webPush from "web-push";
import type { Device } from "../../engine/alerting/people.js";
import type { AlertingStores } from "../../engine/alerting/stores.js";
import type { Clock } from "../../engine/kernel/clock.js";
import { messageOf } from "../../engine/kernel/errors.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";
import type { ChannelOutcome, OpenChannel, OutgoingMessage } from "../channel.js";
import { type ChannelHttp, type HttpAnswer, outcomeOfStatus } from "../channels/http-client.js";
import { WEB_PUSH } from "./options.js";
import { pushContentOf } from "./payload.js";
import type { PushHostPolicy } from "./push-hosts.js";
import { type PushSubscription, storedSubscription, subscriptionFaults } from "./subscription.js";
import type { VapidKeys } from "./vapid-keys.js";

export interface WebPushOptions {
  readonly devices: Pick<AlertingStores["devices"], "get" | "accepted" | "remove">;
  readonly subject: string;
  readonly keys: VapidKeys;
  readonly hosts: PushHostPolicy;
  readonly http: ChannelHttp;
  /** The real one. */
  readonly clock: Clock;
  readonly onTrouble: OnTrouble;
}

/** Windows answers 406 to a sender that pushes too often. */
const NOT_ACCEPTABLE = 406;
const GONE = [404, 410];
/** Reasons that vendors give, such as `BadJwtToken`; a text of another form may quote the request. */
const PLAIN_REASON = /^[A-Za-z][A-Za-z _.-]{0,63}$/;

export class WebPushChannel implements OpenChannel {
  readonly #options: WebPushOptions;

  constructor(options: WebPushOptions) {
    this.#options = options;
  }

  async send(outgoing: OutgoingMessage, signal: AbortSignal): Promise<ChannelOutcome> {
    const { devices, hosts, http } = this.#options;
    const device = await devices.get(outgoing.to);
    if (!device) return { outcome: "refused", reason: "the device was removed", isGone: true };
    // A browser that somebody else has paired since must not show what is meant for another person.
    if (!outgoing.message.id.startsWith(`person:${device.person}/`))
      return { outcome: "refused", reason: "the device belongs to another person now", isGone: true };
    const subscription = storedSubscription(device.address);
    const [fault] = subscription ? subscriptionFaults(subscription, hosts) : [];
    if (!subscription || fault)
      return { outcome: "refused", reason: `the device's ${fault?.field ?? "subscription"} is not usable any more` };
    const answer = await http.send(this.#requestOf(outgoing, subscription), signal);
    return "outcome" in answer ? answer : this.#outcomeOf(answer, device);
  }

  async close(): Promise<void> {
    await this.#options.http.close();
  }

  #requestOf({ message, to, url, ttlMs, urgency }: OutgoingMessage, subscription: PushSubscription) {
    const { keys, subject } = this.#options;
    const { payload, topic } = pushContentOf(message, to, url);
    const { publicKey, privateKey } = keys;
    const { endpoint, headers, body } = webPush.generateRequestDetails(subscription, payload, {
      vapidDetails: { subject, publicKey, privateKey },
      TTL: Math.floor(ttlMs / 1_000),
      ...{ topic, urgency, contentEncoding: "aes128gcm" },
    });
    const texts = Object.entries(headers).map(([name, value]) => [name, String(value)]);
    return { url: endpoint, headers: Object.fromEntries(texts) as Record<string, string>, body };
  }

  async #outcomeOf(answer: HttpAnswer, { id }: Device): Promise<ChannelOutcome> {
    const { devices, clock, onTrouble } = this.#options;
    if (GONE.includes(answer.status)) {
      await devices.remove(id, "gone");
      return { outcome: "refused", reason: `HTTP ${answer.status}: the subscription has ended`, isGone: true };
    }
    const outcome = outcomeOfStatus(answer.status === NOT_ACCEPTABLE ? { ...answer, status: 429 } : answer, clock);
    if (outcome.outcome === "accepted") {
      await devices.accepted(id).catch((thrown: unknown) => {
        onTrouble(`a push that was accepted is not counted: ${messageOf(thrown)}`, { sink: WEB_PUSH });
      });
      return outcome;
    }
    const reason = reasonOf(answer);
    return { ...outcome, reason: reason === undefined ? `HTTP ${answer.status}` : `HTTP ${answer.status}: ${reason}` };
  }
}

/** The reason that a push service gives, as JSON (`reason` by Apple, `message` by Mozilla); undefined: none. */
function reasonOf({ text }: HttpAnswer): string | undefined {
  try {
    const { reason, message } = JSON.parse(text) as Record<string, unknown>;
    return [reason, message].find((each): each is string => typeof each === "string" && PLAIN_REASON.test(each));
  } catch {
    return undefined;
  }
}

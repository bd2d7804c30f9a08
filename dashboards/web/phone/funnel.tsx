/**
 * Who was notified of an alert, and how far each message has come: sent, accepted by the channel, displayed on the
 * device. One row a person and channel; the newest message of an address counts.
 */
import type { Translate } from "../dictionary.js";
import { usePage } from "../page-context.js";
import type { AlertDetails, Delivery } from "./alert-details.js";
import { channelText } from "./channel-text.js";
import type { PhoneAlert } from "./phone-model.js";

const STEPS = ["sent", "accepted", "displayed"] as const;

/** How far a message has come: the number of steps, and when the last one was. */
function progressOf({ sentAt, acceptedAt, displayedAt }: Delivery): readonly [steps: number, at: string] {
  if (displayedAt !== undefined) return [3, displayedAt];
  return acceptedAt !== undefined ? [2, acceptedAt] : [1, sentAt];
}

/** The newest of each address. */
function newestOf(deliveries: readonly Delivery[]): Delivery[] {
  const byAddress = new Map<string, Delivery>();
  for (const each of deliveries) {
    const key = `${each.recipient} ${each.channel} ${each.to}`;
    const known = byAddress.get(key);
    if (known === undefined || known.sentAt <= each.sentAt) byAddress.set(key, each);
  }
  return [...byAddress.values()];
}

/** The channel; an endpoint that is the recipient itself is not named twice. */
const wayText = (text: Translate, { recipient, channel, to }: Delivery): string =>
  channelText(text, channel, recipient === `endpoint:${to}` ? "" : to);

/** `person:li.wei` is shown as `li.wei`. */
const recipientName = (recipient: string): string => recipient.slice(recipient.indexOf(":") + 1);

export function Funnel({ alert, details }: { alert: PhoneAlert; details: AlertDetails | undefined }) {
  const { text, format } = usePage();
  if (details === undefined) return null;
  const deliveries = newestOf(details.deliveries ?? []);
  const isWaiting = alert.state === "fired" && details.nextLevelAt !== undefined;
  return (
    <section class="phone-card" data-testid="funnel">
      <h2>{text("funnel")}</h2>
      {deliveries.length === 0 && <p class="quiet">{text("funnelEmpty")}</p>}
      <ul class="funnel">
        {deliveries.map((each) => (
          <DeliveryRow key={`${each.recipient} ${each.channel} ${each.to}`} delivery={each} />
        ))}
      </ul>
      {isWaiting && (
        <p class="quiet">{text("nextLevel", { time: format.minute(Date.parse(details.nextLevelAt as string)) })}</p>
      )}
    </section>
  );
}

export function DeliveryRow({ delivery }: { delivery: Delivery }) {
  const { text, format } = usePage();
  const [steps, at] = progressOf(delivery);
  const isFailed = delivery.failure !== undefined && steps < 2;
  const reached = isFailed
    ? text("stepFailed")
    : text(([undefined, "stepSent", "stepAccepted", "stepDisplayed"] as const)[steps] ?? "stepSent");
  return (
    <li data-tone={isFailed ? "alarm" : steps === 3 ? "good" : "calm"}>
      <span class="funnel-who">
        <b>{recipientName(delivery.recipient)}</b>
        <span>{wayText(text, delivery)}</span>
      </span>
      <span class="funnel-steps" aria-hidden="true">
        {STEPS.map((step, i) => (
          <i key={step} data-done={i < steps || null} />
        ))}
      </span>
      <span class="funnel-reached">
        {reached}
        <time>{format.second(Date.parse(at))}</time>
      </span>
      {isFailed && <span class="funnel-why">{delivery.failure}</span>}
    </li>
  );
}

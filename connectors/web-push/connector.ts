/**
 * Web Push as a line of the table of connectors: the sink that sends to people's devices, and in every process the
 * registration of browsers for the HTTP API. Without a subject there is neither.
 */
import { NOTIFICATIONS_TOPIC } from "../../engine/alerting/notification.js";
import { systemClock } from "../../engine/kernel/clock.js";
import type { OptionValues } from "../../engine/kernel/options.js";
import { openChannelSink } from "../channels/sink.js";
import { type ConnectorParts, defineConnector, defineSink } from "../connector.js";
import { WEB_PUSH, WEB_PUSH_TRAITS, webPushOptions } from "./options.js";

/** Of all workers together; push services take far more, and each phone has a limit of its own. */
const LIMITS = { perSecond: 200, inFlight: 32 };
/** To one push service: a vendor's has one name for all phones. */
const CONNECTIONS = 16;

/** What is checked in every process, so that a wrong option stops each of them. */
async function checked(
  { vapidSubject, pushHosts }: OptionValues<typeof webPushOptions>,
  { redis, prefix }: ConnectorParts,
) {
  if (vapidSubject === undefined) return undefined;
  const [{ checkSubject }, { pushHostPolicy }, { loadVapidKeys }] = await Promise.all([
    import("./vapid-subject.js"),
    import("./push-hosts.js"),
    import("./vapid-keys.js"),
  ]);
  checkSubject(vapidSubject);
  const hosts = pushHostPolicy(pushHosts);
  return { subject: vapidSubject, hosts, keys: await loadVapidKeys(redis, prefix, systemClock) };
}

const webPushSink = defineSink({
  name: WEB_PUSH,
  topic: NOTIFICATIONS_TOPIC,
  options: webPushOptions,
  isConfigured: ({ vapidSubject }) => vapidSubject !== undefined,
  limits: () => LIMITS,
  async open(values, parts) {
    const ready = await checked(values, parts);
    if (ready === undefined) return undefined;
    const [{ ChannelHttp }, { WebPushChannel }, { trustedHostsOf }] = await Promise.all([
      import("../channels/http-client.js"),
      import("./channel.js"),
      import("./push-hosts.js"),
    ]);
    const http = new ChannelHttp({
      ...{ reach: "public", connections: CONNECTIONS },
      trustedHosts: trustedHostsOf(values.pushHosts),
    });
    const { alerting, onTrouble } = parts;
    // Push services name times by the real clock; the shop's may be another.
    const channel = new WebPushChannel({ ...ready, devices: alerting.devices, http, clock: systemClock, onTrouble });
    const { perMinute } = WEB_PUSH_TRAITS;
    return openChannelSink({ name: WEB_PUSH, channel, limits: LIMITS, perMinute }, parts);
  },
});

export const webPushConnector = defineConnector({
  name: WEB_PUSH,
  options: webPushOptions,
  sinks: [webPushSink],
  personChannel: ({ vapidSubject }) => (vapidSubject === undefined ? undefined : WEB_PUSH_TRAITS),
  async open(values, parts) {
    const { devices } = parts.alerting;
    const ready = await checked(values, parts);
    if (ready === undefined) {
      const lost = (await devices.all()).length;
      return lost === 0 ? undefined : { warnings: () => [`${lost} devices get no pushes: --vapid-subject is not set`] };
    }
    const { pushRegistrations } = await import("./registration.js");
    return { pushRegistrations: pushRegistrations({ devices, ...ready }) };
  },
});

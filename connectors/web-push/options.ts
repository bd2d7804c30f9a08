/**
 * Options of Web Push, and the channel's traits. Without a subject there is no Web Push: push services require a
 * contact of the sender.
 */
import type { ChannelTraits } from "../../engine/alerting/notification.js";
import { defineOptions } from "../../engine/kernel/options.js";

export const webPushOptions = defineOptions({
  vapidSubject: {
    type: "string",
    about:
      "contact that push services get with every push, as mailto:ops@shop.com or an https address; without it there is no Web Push",
  },
  pushHosts: {
    type: "list",
    about:
      "hosts of push services that are allowed beside those of the browsers' vendors, as push.shop.com or push.shop.com:8443; they may be inside the network",
  },
});

/** The channel's name, also of its sink. */
export const WEB_PUSH = "web-push";

/** A phone that gets more is muted by its owner. */
export const WEB_PUSH_TRAITS: ChannelTraits = { perMinute: 30, confirmsDisplay: true, sendsChanges: true };

/**
 * Registers browsers for pushes: checks what a browser gives, and stores it as a device of the person whose session
 * sent it. The same subscription again is the same device. How many a person may have is the store's limit.
 */
import { type DeviceStore, deviceIdOf } from "../../engine/alerting/device-store.js";
import type { Device } from "../../engine/alerting/people.js";
import type { PushRegistrations } from "../connector.js";
import { WEB_PUSH } from "./options.js";
import type { PushHostPolicy } from "./push-hosts.js";
import { subscriptionFaults } from "./subscription.js";
import type { VapidKeys } from "./vapid-keys.js";

export interface PushRegistrationOptions {
  readonly devices: Pick<DeviceStore, "register">;
  readonly keys: VapidKeys;
  readonly hosts: PushHostPolicy;
}

export const pushRegistrations = ({ devices, keys, hosts }: PushRegistrationOptions): PushRegistrations => ({
  publicKey: keys.publicKey,
  createdMs: keys.createdMs,
  async register(person, label, { endpoint, keys: { p256dh, auth } }) {
    const address = { endpoint, keys: { p256dh, auth } };
    const faults = subscriptionFaults(address, hosts);
    if (faults.length > 0) return faults;
    const device = { id: deviceIdOf(endpoint), person, label, channel: WEB_PUSH, address } satisfies Partial<Device>;
    return devices.register(device);
  },
});

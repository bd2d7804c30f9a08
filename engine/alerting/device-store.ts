/**
 * The devices of people: what a channel needs to reach each, and whether what was accepted for it is displayed. One
 * Redis hash with a field for each part, so that counting does not overwrite a registration. A device is removed only
 * by an explicit call with a reason: an error of a push service is none. Addresses are secrets; callers keep them out
 * of answers and logs.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../kernel/clock.js";
import type { OnTrouble } from "../kernel/logger.js";
import { alertingKeys } from "../stream/keys.js";
import type { RedisClient } from "../stream/redis.js";
import { type Fields, HashCache } from "./hash-cache.js";
import type { Device } from "./people.js";

/** Phones, tablets and browsers of one person. */
export const MAX_DEVICES_EACH = 10;
const MAX_DEVICES = 2_000;

/** Without this part there is no device. */
const REGISTRATION = "registration";
const DISPLAYED = "displayed";
const SILENT = "silent";
const PARTS = [REGISTRATION, DISPLAYED, SILENT] as const;
const ID_LENGTH = 16;

/** Why a device is removed, for the log. */
export type RemovalReason = "gone" | "by_its_owner" | "person_removed";

type NewDevice = Pick<Device, "id" | "person" | "label" | "channel" | "address">;

export interface DeviceStoreOptions {
  readonly redis: RedisClient;
  readonly prefix: string;
  readonly clock: Clock;
  readonly onTrouble: OnTrouble;
}

/** 96 bits of a hash: the same address always has the same id, so registering it again is the same device. */
export const deviceIdOf = (uniqueAddress: string): string =>
  createHash("sha256").update(uniqueAddress).digest("base64url").slice(0, ID_LENGTH);

export class DeviceStore {
  readonly #options: DeviceStoreOptions;
  readonly #key: string;
  readonly #hash: HashCache<readonly Device[]>;

  constructor(options: DeviceStoreOptions) {
    this.#options = options;
    this.#key = alertingKeys(options.prefix).devices;
    this.#hash = new HashCache(options.redis, this.#key, devicesOf);
  }

  /**
   * Registers a device, or replaces its label, address and person: a browser that another person paired is theirs. Safe
   * to repeat.
   * @param device its `id` is `deviceIdOf` of what is unique in the address
   * @returns the device; `too_many` when its person has MAX_DEVICES_EACH others, or the deployment MAX_DEVICES
   */
  register(device: NewDevice): Promise<Device | "too_many"> {
    return this.#hash.inTurn(() => this.#register(device));
  }

  async #register(device: NewDevice): Promise<Device | "too_many"> {
    const all = await this.#hash.readNow();
    const known = all.find(({ id }) => id === device.id);
    const others = all.filter(({ id }) => id !== device.id);
    if (others.length >= MAX_DEVICES) return "too_many";
    if (others.filter(({ person }) => person === device.person).length >= MAX_DEVICES_EACH) return "too_many";
    const { id, person, label, channel, address } = device;
    const createdMs = known?.createdMs ?? this.#options.clock.now();
    const registration = { person, label, channel, address, createdMs };
    await this.#hash.write({ [`${id}/${REGISTRATION}`]: JSON.stringify(registration), [`${id}/${SILENT}`]: "0" });
    return { id, ...registration, displayedMs: known?.displayedMs ?? 0, silentPushes: 0 };
  }

  /** A person's devices, the oldest first, as they were within the last second. */
  async of(person: string): Promise<readonly Device[]> {
    return (await this.all()).filter((device) => device.person === person);
  }

  /** All devices, the oldest first, as they were within the last second. */
  all(): Promise<readonly Device[]> {
    return this.#hash.read();
  }

  /** A device as it was within the last second; one that was registered since is found, too. */
  async get(id: string): Promise<Device | undefined> {
    const isIt = (device: Device) => device.id === id;
    const found = (await this.all()).find(isIt);
    if (found || (await this.#options.redis.hexists(this.#key, `${id}/${REGISTRATION}`)) === 0) return found;
    return (await this.#hash.readNow()).find(isIt);
  }

  /** A push for it was accepted. A push that is reported twice counts twice. An unknown device is ignored. */
  async accepted(id: string): Promise<void> {
    const { redis } = this.#options;
    if ((await redis.hexists(this.#key, `${id}/${REGISTRATION}`)) === 0) return;
    await redis.hincrby(this.#key, `${id}/${SILENT}`, 1);
  }

  /** Something was displayed on it. An unknown device is ignored. */
  async displayed(id: string, atMs: number): Promise<void> {
    if ((await this.#options.redis.hexists(this.#key, `${id}/${REGISTRATION}`)) === 0) return;
    await this.#hash.write({ [`${id}/${DISPLAYED}`]: String(atMs), [`${id}/${SILENT}`]: "0" });
  }

  /** Removes all devices of a person. Safe to repeat. */
  async removeOf(person: string, reason: RemovalReason): Promise<void> {
    for (const device of await this.#hash.readNow()) if (device.person === person) await this.remove(device.id, reason);
  }

  /** Removes a device for good, and reports why. @returns false when there was none */
  async remove(id: string, reason: RemovalReason): Promise<boolean> {
    const known = (await this.#hash.readNow()).find((device) => device.id === id);
    await this.#hash.write(
      {},
      PARTS.map((part) => `${id}/${part}`),
    );
    if (!known) return false;
    const { person, label } = known;
    this.#options.onTrouble(`the device ${label} of ${person} was removed: ${REASONS[reason]}`, { level: "info" });
    return true;
  }
}

const REASONS: Readonly<Record<RemovalReason, string>> = {
  gone: "its push service has no such subscription any more",
  by_its_owner: "by its owner",
  person_removed: "its owner was removed",
};

/** Counters without a registration are left over from a removal at the same moment; they are no devices. */
function devicesOf(fields: Fields): Device[] {
  return Object.entries(fields)
    .filter(([field]) => field.endsWith(`/${REGISTRATION}`))
    .map(([field, text]) => {
      const id = field.slice(0, -REGISTRATION.length - 1);
      const registration = JSON.parse(text) as Omit<Device, "id" | "displayedMs" | "silentPushes">;
      return {
        id,
        ...registration,
        displayedMs: Number(fields[`${id}/${DISPLAYED}`] ?? 0),
        silentPushes: Number(fields[`${id}/${SILENT}`] ?? 0),
      };
    })
    .sort((one, other) => one.createdMs - other.createdMs || (one.id < other.id ? -1 : 1));
}

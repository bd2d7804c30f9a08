/**
 * People who are notified (R11): who they are, by which channels they are reached and in which order, and when they
 * want quiet. A person pairs devices, each of which may have a push subscription. Plain data; people-store.ts keeps it.
 */

/** Texts that the engine writes for people are in these languages. */
export type PersonLanguage = "zh" | "en";

/** A daily time of the shop's zone, in minutes after midnight; `toMinute` may be before `fromMinute`: over midnight. */
export interface QuietHours {
  readonly fromMinute: number;
  readonly toMinute: number;
}

/**
 * A way to reach a person: `web-push` (all devices), `wecom` (the application message to the person's user id), or
 * `endpoint:<name>` (an endpoint of the configuration file, such as a group robot).
 */
export type ContactName = string;

export interface Person {
  /** 1 to 32 lower-case letters, digits and `._-`; actors of this person are `<id>/<device>`. */
  readonly id: string;
  /** As shown. */
  readonly name: string;
  /** `purchasing`, `warehouse`, `operations`, or the shop's own. */
  readonly roles: readonly string[];
  readonly language: PersonLanguage;
  /** Of WeCom's directory; needed for the contact `wecom`. */
  readonly wecomUserId?: string;
  /** Contacts of one step are tried together; the next step follows when nothing was displayed within 60 s. */
  readonly ladder: readonly (readonly ContactName[])[];
  /** Warnings wait until they end; what is critical does not. */
  readonly quietHours?: QuietHours;
}

/** A paired browser of a person that receives pushes. */
export interface Device {
  /** Made by the engine, 16 characters of base64url. */
  readonly id: string;
  readonly person: string;
  /** The name that the browser gave itself: `iPhone`. */
  readonly label: string;
  readonly channel: "web-push";
  /** What the channel needs to reach it: the push subscription as the browser gave it. */
  readonly address: unknown;
  readonly createdMs: number;
  /** When something was displayed on it for the last time; 0: never. */
  readonly displayedMs: number;
  /** Accepted pushes since then of which nothing was displayed: at 3 its owner is reached by other channels, too. */
  readonly silentPushes: number;
}

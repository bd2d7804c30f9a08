/**
 * What a push contains: one JSON text that a browser with declarative Web Push shows by itself (`web_push: 8030`), and
 * that the page's service worker reads in every other browser. It fits into what push services take at least. A message
 * about one alert has a tag of its own, so a later one replaces it on the screen, and a topic, so it replaces it at the
 * push service while the phone is not reached. Pure.
 */
import { createHash } from "node:crypto";
import type { Message } from "../../engine/alerting/notification.js";
import { linesOf, titleOf } from "../../engine/alerting/texts.js";
import { messageUrl } from "../channels/message-url.js";

/** Of the text before encryption: RFC 8030 §7.2 allows 4,096 bytes of body, of which encryption takes 103. */
export const MAX_PAYLOAD_BYTES = 3_800;
/** Of a notification's text: the first that fits is used. Phones show fewer lines than the longest has. */
const TEXT_BYTES = [1_500, 1_000, 500, 200];
const MAX_TITLE_CHARACTERS = 200;
/** Of the ids together, which are in it twice: at least two of the longest, so that none is taken for a single one. */
const MAX_ID_BYTES = 800;
/** RFC 8030 §5.4. */
const TOPIC_CHARACTERS = 32;

/** The number that marks a declarative message. */
const WEB_PUSH = 8030;
const LANGUAGE_TAGS = { zh: "zh-CN", en: "en" } as const;

export interface PushContent {
  readonly payload: string;
  /** Of the header `Topic`. */
  readonly topic: string;
}

/** @param device the id of the device that gets it @param url absolute; undefined: the page's own */
export function pushContentOf(message: Message, device: string, url: string | undefined): PushContent {
  const { id, type, language, total, alerts } = message;
  const [alert] = alerts;
  // A summary that replaced another would hide its alerts.
  const tag = total === 1 && alert && type !== "test" ? `alert:${alert.id}` : `message:${id}`;
  const shuiwei = { messageId: id, device, alertIds: idsOf(message), type };
  const payloadWith = (maxBytes: number): string =>
    JSON.stringify({
      web_push: WEB_PUSH,
      notification: {
        title: [...titleOf(message)].slice(0, MAX_TITLE_CHARACTERS).join(""),
        body: linesOf(message, { maxBytes }).join("\n"),
        navigate: url ?? messageUrl("", message),
        lang: LANGUAGE_TAGS[language],
        tag,
        ...(type === "change" ? { silent: true } : {}),
        // Where the browser has parsed the message itself, the service worker gets this only.
        data: shuiwei,
      },
      // The service worker reports the display also where the browser shows the message by itself.
      mutable: true,
      shuiwei,
    });
  for (const maxBytes of TEXT_BYTES) {
    const payload = payloadWith(maxBytes);
    if (Buffer.byteLength(payload) <= MAX_PAYLOAD_BYTES) return { payload, topic: topicOf(tag) };
  }
  throw new Error("the payload of a push is too large");
}

/** The ids of the alerts that it lists, without those that would make it too long. */
function idsOf({ alerts }: Message): string[] {
  let bytes = 0;
  return alerts
    .map(({ id }) => id)
    .filter((id) => {
      bytes += Buffer.byteLength(JSON.stringify(id)) + 1;
      return bytes <= MAX_ID_BYTES;
    });
}

const topicOf = (tag: string): string =>
  createHash("sha256").update(tag).digest("base64url").slice(0, TOPIC_CHARACTERS);

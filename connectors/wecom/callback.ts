/**
 * What WeCom sends to the callback address of an application: a check of the address (GET), and events (POST). Each is
 * signed with the callback's token and encrypted with its key; whatever is not, or is not for this corp, is refused.
 * The event of a card's button acknowledges its alert in the name of the member who pressed it, and replaces the
 * button. WeCom sends an event again when no answer comes within five seconds, and so may somebody who has recorded it:
 * acknowledging an alert twice changes nothing.
 */
import { XMLParser } from "fast-xml-parser";
import { type CallbackSecrets, decrypt, isSignature, signatureOf } from "./callback-crypto.js";
import { alertIdOf } from "./card.js";

/** The query of every request. */
export interface CallbackQuery {
  readonly msg_signature: string;
  readonly timestamp: string;
  readonly nonce: string;
}

/** A button that somebody has pressed. */
export interface PressedButton {
  readonly alertId: string;
  readonly userId: string;
  /** Replaces the button, once within 72 hours. */
  readonly responseCode: string;
}

/** Without entities, so that a small text cannot become a large one. */
const parser = new XMLParser({ ignoreAttributes: true, processEntities: false, parseTagValue: false });

export class WecomCallback {
  readonly #secrets: CallbackSecrets;

  constructor(secrets: CallbackSecrets) {
    this.#secrets = secrets;
  }

  /** The text with which the check of the address is answered; undefined: it does not come from WeCom. */
  echo(query: CallbackQuery, encrypted: string): string | undefined {
    return this.#isSigned(query, encrypted) ? decrypt(encrypted, this.#secrets) : undefined;
  }

  /**
   * Reads an event.
   * @returns undefined: it does not come from WeCom; null: nothing that concerns alerts
   */
  read(query: CallbackQuery, xml: string): PressedButton | null | undefined {
    const encrypted = fieldsOf(xml)?.["Encrypt"];
    if (typeof encrypted !== "string" || !this.#isSigned(query, encrypted)) return undefined;
    const text = decrypt(encrypted, this.#secrets);
    const fields = text === undefined ? undefined : fieldsOf(text);
    if (!fields) return undefined;
    const { Event: event, EventKey: key, FromUserName: userId, ResponseCode: responseCode } = fields;
    if (event !== "template_card_event" || typeof key !== "string" || typeof userId !== "string") return null;
    const alertId = alertIdOf(key);
    return alertId === undefined ? null : { alertId, userId, responseCode: String(responseCode ?? "") };
  }

  #isSigned({ msg_signature: given, timestamp, nonce }: CallbackQuery, encrypted: string): boolean {
    return isSignature(given, signatureOf(this.#secrets.token, timestamp, nonce, encrypted));
  }
}

/** The elements of the document's only element; undefined when it is no XML. */
function fieldsOf(xml: string): Readonly<Record<string, unknown>> | undefined {
  // A document type could define entities; WeCom sends none.
  if (xml.includes("<!DOCTYPE")) return undefined;
  try {
    const { xml: fields } = parser.parse(xml) as { xml?: unknown };
    return typeof fields === "object" && fields !== null ? (fields as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

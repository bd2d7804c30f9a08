/**
 * The identifiers of a card: its task id, by which WeCom distinguishes cards, and the key of its button, which comes
 * back in the callback and names the alert.
 */
import { createHash } from "node:crypto";

const KEY_PREFIX = "acknowledge:";

/** The same for the same message; letters, digits, `_` and `-`. */
export const taskIdOf = (messageId: string): string => createHash("sha256").update(messageId).digest("base64url");

export const buttonKeyOf = (alertId: string): string => KEY_PREFIX + alertId;

/** The alert that a button acknowledges; undefined for the key of another button. */
export const alertIdOf = (key: string): string | undefined =>
  key.startsWith(KEY_PREFIX) ? key.slice(KEY_PREFIX.length) : undefined;

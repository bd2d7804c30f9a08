/** Texts for WeCom: Markdown with the link as its last line, within a limit of bytes. */
import { translatorOf } from "../../engine/alerting/dictionary.js";
import { markdownOf } from "../../engine/alerting/texts.js";
import type { OutgoingMessage } from "../channel.js";

/** A longer link is left out: the text has to fit. */
const MAX_LINK_BYTES = 1_000;

export function markdownWithLink({ message, url }: OutgoingMessage, maxBytes: number): string {
  const label = translatorOf(message.language)("openLink");
  const link = url === undefined ? "" : `\n\n[${label}](${url})`;
  const bytes = Buffer.byteLength(link);
  if (bytes > MAX_LINK_BYTES) return markdownOf(message, { maxBytes });
  return markdownOf(message, { maxBytes: maxBytes - bytes }) + link;
}

/** Cut at a character, with `…` at its end, so that it has at most so many bytes of UTF-8. */
export function cut(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  let bytes = Buffer.byteLength("…");
  let kept = "";
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > maxBytes) break;
    kept += character;
  }
  return `${kept}…`;
}

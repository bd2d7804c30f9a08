/**
 * Makes a text that comes from outside safe inside a message for people: SKUs, names, reasons. Channels give some
 * characters a meaning: `@all` mentions everyone, `<at …>` and `<@…>` too, `[text](address)` is a link, and a bare
 * address becomes one. Such characters are replaced by their full-width forms, because the channels do not agree on an
 * escape. The text looks nearly the same and is no longer meant for copying.
 */

const MAX_CHARACTERS = 80;

/** Control characters, line separators, and characters that are invisible or change the direction of writing. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu;
/** They begin or end a mention, a tag, a link, an entity, an emphasis or a code in at least one channel. */
const SPECIAL = /[@<>[\]*`\\&]/g;
/** Distance of a character to its full-width form in Unicode. */
const TO_FULL_WIDTH = 0xfee0;
/** Where a dot could be part of the name of a host. */
const DOT_OF_HOST = /\.(?=\p{L}{2})/gu;
const ONE_DOT_LEADER = "\u2024";

const fullWidth = (character: string): string => String.fromCharCode(character.charCodeAt(0) + TO_FULL_WIDTH);

/** @param maxCharacters a longer text is cut, and ends with `…` */
export function safeText(text: string, maxCharacters = MAX_CHARACTERS): string {
  // A character has two code units at most: whatever is behind them is not looked at.
  const characters = [
    ...text
      .slice(0, 4 * maxCharacters)
      .replace(INVISIBLE, " ")
      .trim(),
  ];
  const shown =
    characters.length > maxCharacters ? `${characters.slice(0, maxCharacters - 1).join("")}…` : characters.join("");
  return shown.replace(SPECIAL, fullWidth).replaceAll("://", "：//").replace(DOT_OF_HOST, ONE_DOT_LEADER);
}

/**
 * Which form of a body a client prefers, by its Accept-Encoding (RFC 9110): the one with the highest quality; of equal
 * ones the smallest. A client that names none, or accepts nothing of what there is, gets the plain text.
 */

/** The smallest first. */
const FORMS = ["br", "gzip", "identity"] as const;

export function preferredEncoding(header: string | undefined): (typeof FORMS)[number] {
  if (header === undefined) return "identity";
  const qualities = new Map<string, number>();
  for (const each of header.toLowerCase().split(",")) {
    const [coding = "", ...parameters] = each.split(";").map((part) => part.trim());
    const quality = parameters.find((parameter) => /^q\s*=/.test(parameter));
    // What cannot be read counts as not accepted.
    qualities.set(coding === "x-gzip" ? "gzip" : coding, quality === undefined ? 1 : qualityOf(quality));
  }
  let best: (typeof FORMS)[number] = "identity";
  let most = 0;
  for (const form of FORMS) {
    // Plain text that is not named is accepted, but less wanted than anything that is.
    const unnamed = form === "identity" ? Number.MIN_VALUE : (qualities.get("*") ?? 0);
    const quality = qualities.get(form) ?? unnamed;
    if (quality > most) [best, most] = [form, quality];
  }
  return best;
}

function qualityOf(parameter: string): number {
  const [, text] = /^q\s*=\s*([01](?:\.\d{0,3})?)$/.exec(parameter) ?? [];
  return text === undefined ? 0 : Math.min(1, Number(text));
}

/**
 * Removes secrets from a text that comes from outside, such as the reason of a refusal that quotes the request. Beside
 * the secret itself its form in a URL is removed. Control characters are replaced, because a terminal would execute
 * them.
 */

/** A shorter text would be found in ordinary words. */
const SHORTEST_SECRET = 6;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced
const CONTROL = /[\u0000-\u001f\u007f-\u009f]+/g;

export function hideSecrets(text: string, secrets: readonly string[]): string {
  let shown = text;
  const forms = secrets.flatMap((secret) => [secret, encodeURIComponent(secret)]);
  // The longest first: one may be a part of another.
  for (const form of forms.sort((one, other) => other.length - one.length))
    if (form.length >= SHORTEST_SECRET) shown = shown.replaceAll(form, "***");
  return shown.replace(CONTROL, " ").trim();
}

/**
 * The signature of Wangdian's open platform: an MD5 over all parameters, sorted by name, each as its length, name,
 * length and value, and the account's secret. The public documents leave open whether lengths count characters or
 * bytes; both are here, and a request with only ASCII in it has the same signature either way. Pure.
 */
import { createHash } from "node:crypto";

/** What a length counts: unconfirmed for parameters that are not ASCII. */
export type LengthUnit = "characters" | "bytes";

export type Parameters = Readonly<Record<string, string>>;

/** @returns 32 lower-case hexadecimal digits; a parameter `sign` is left out */
export function signatureOf(parameters: Parameters, secret: string, unit: LengthUnit): string {
  const length = (text: string): number => (unit === "bytes" ? Buffer.byteLength(text) : [...text].length);
  const part = (text: string, digits: number): string => `${String(length(text)).padStart(digits, "0")}-${text}`;
  const joined = Object.keys(parameters)
    .filter((name) => name !== "sign")
    .sort()
    .map((name) => `${part(name, 2)}:${part(parameters[name] as string, 4)}`)
    .join(";");
  return createHash("md5")
    .update(joined + secret, "utf8")
    .digest("hex");
}

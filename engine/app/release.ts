/**
 * The release of this program: the version of its package, found relative to this file, compiled or not.
 */
import { existsSync, readFileSync } from "node:fs";

export function releaseVersion(): string {
  for (const path of ["../../package.json", "../../../package.json"]) {
    const file = new URL(path, import.meta.url);
    if (existsSync(file)) return String((JSON.parse(readFileSync(file, "utf8")) as { version?: string }).version);
  }
  return "unknown";
}

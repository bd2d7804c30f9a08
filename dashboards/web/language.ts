/**
 * Which language the page speaks: `?lang=` wins, then what was chosen before, then the browser's own. A choice is
 * remembered in localStorage where the browser allows it; where it does not, it holds until the page is left.
 */
import type { Language } from "./dictionary.js";

const STORAGE_KEY = "shuiwei.lang";

const asLanguage = (value: string | null): Language | undefined =>
  value === "zh" || value === "en" ? value : undefined;

function remembered(): string | null {
  try {
    return localStorage.getItem(STORAGE_KEY);
  } catch {
    return null; // storage is switched off
  }
}

export function initialLanguage(): Language {
  return (
    asLanguage(new URLSearchParams(location.search).get("lang")) ??
    asLanguage(remembered()) ??
    (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en")
  );
}

/** Remembers the choice, and corrects `?lang=` in the address so that a reload keeps it. */
export function rememberLanguage(language: Language): void {
  try {
    localStorage.setItem(STORAGE_KEY, language);
  } catch {
    // storage is switched off: the choice lasts as long as the page
  }
  const address = new URL(location.href);
  if (!address.searchParams.has("lang")) return;
  address.searchParams.set("lang", language);
  history.replaceState(null, "", address);
}

/**
 * The page's language: `?lang=` comes first, then the last choice, then the browser's own. The choice is stored in
 * localStorage; where the browser forbids that, it lasts until the page is closed.
 */
import type { Language } from "./dictionary.js";

const STORAGE_KEY = "shuiwei.lang";

const asLanguage = (value: string | null): Language | undefined =>
  value === "zh" || value === "en" ? value : undefined;

function stored(): string | null {
  try {
    return localStorage.getItem(STORAGE_KEY);
  } catch {
    return null; // storage is switched off
  }
}

export function initialLanguage(): Language {
  return (
    asLanguage(new URLSearchParams(location.search).get("lang")) ??
    asLanguage(stored()) ??
    (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en")
  );
}

/** Stores the choice, and corrects `?lang=` in the address so that a reload keeps it. */
export function storeLanguage(language: Language): void {
  try {
    localStorage.setItem(STORAGE_KEY, language);
  } catch {
    // storage is switched off: the choice lasts until the page is closed
  }
  const address = new URL(location.href);
  if (!address.searchParams.has("lang")) return;
  address.searchParams.set("lang", language);
  history.replaceState(null, "", address);
}

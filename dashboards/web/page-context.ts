/** What nearly every component needs: texts, formats, layout and theme. The app provides it; `usePage` reads it. */
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Language, Translate } from "./dictionary.js";
import type { Layout } from "./environment.js";
import type { Format } from "./format.js";
import type { Theme } from "./heat-scale.js";

export interface Page {
  language: Language;
  text: Translate;
  format: Format;
  layout: Layout;
  theme: Theme;
}

export const PageContext = createContext<Page | undefined>(undefined);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === undefined) throw new Error("usePage needs a PageContext around the component");
  return page;
}

/** Names up to this length are abbreviations (ERP, WMS) and are shown in capital letters. */
const LONGEST_ABBREVIATION = 4;

/** The name of a party of a comparison: sources have names of their own, the engine's two have words. */
export function partyName(text: Translate, party: string): string {
  if (party === "ledger") return text("partyLedger");
  if (party === "published") return text("partyPublished");
  return party.length <= LONGEST_ABBREVIATION ? party.toUpperCase() : party.charAt(0).toUpperCase() + party.slice(1);
}

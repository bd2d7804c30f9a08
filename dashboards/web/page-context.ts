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

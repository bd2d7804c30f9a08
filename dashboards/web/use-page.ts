/**
 * The language, layout, theme and formats of a page, and the button's action that changes the language. Sets the
 * document's language and title.
 */
import { useEffect, useMemo, useState } from "preact/hooks";
import { type PlainKey, translator } from "./dictionary.js";
import { useLayout, useTheme } from "./environment.js";
import { formatIn } from "./format.js";
import { initialLanguage, storeLanguage } from "./language.js";
import type { Page } from "./page-context.js";

const DEFAULT_ZONE = "Asia/Shanghai";

/** @param zone of the shop; undefined while it is not known */
export function usePageState(title: PlainKey, zone: string = DEFAULT_ZONE): { page: Page; switchLanguage(): void } {
  const [language, setLanguage] = useState(initialLanguage);
  const layout = useLayout();
  const theme = useTheme(layout);
  const page = useMemo(() => {
    const text = translator(language);
    return { language, text, format: formatIn(language, zone, text), layout, theme };
  }, [language, zone, layout, theme]);

  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = page.text(title);
  }, [language, page, title]);

  const switchLanguage = () => {
    const other = language === "zh" ? "en" : "zh";
    storeLanguage(other);
    setLanguage(other);
  };
  return { page, switchLanguage };
}

/**
 * What the components read from the browser: which of the three layouts the window takes, the colour theme, and the
 * time of day in ticks. The conditions are the ones `style.css` uses; they must be changed together.
 */
import { useEffect, useState } from "preact/hooks";
import type { Theme } from "./heat-scale.js";

export type Layout = "wall" | "desk" | "phone";

const WALL = "(min-width: 1600px) and (min-height: 800px)";
const PHONE = "(max-width: 719px)";
const LIGHT = "(prefers-color-scheme: light)";

function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const update = () => setMatches(media.matches);
    update();
    media.addEventListener("change", update);
    return () => media.removeEventListener("change", update);
  }, [query]);
  return matches;
}

export function useLayout(): Layout {
  const wall = useMedia(WALL);
  const phone = useMedia(PHONE);
  return wall ? "wall" : phone ? "phone" : "desk";
}

/** A wall is always dark. */
export function useTheme(layout: Layout): Theme {
  const light = useMedia(LIGHT);
  return light && layout !== "wall" ? "light" : "dark";
}

/** Renders the component again every `periodMs` while `running`. */
export function useTicks(periodMs: number, running: boolean): void {
  const [, setTicks] = useState(0);
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => setTicks((ticks) => ticks + 1), periodMs);
    return () => clearInterval(timer);
  }, [periodMs, running]);
}

/** The page's root font size in CSS pixels; the wall scales with it. */
export const rootFontSize = (): number => Number.parseFloat(getComputedStyle(document.documentElement).fontSize);

/**
 * What the components read from the browser: the layout for the window's size, the colour theme, sizes, and a timer
 * that renders again. The media conditions are the ones of the style sheets; they must be changed together.
 */
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import type { Theme } from "./heat-scale.js";

export type Layout = "wall" | "desktop" | "phone";

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
  return wall ? "wall" : phone ? "phone" : "desktop";
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

/** The inner size of a box in CSS pixels; 0 × 0 before it is measured. */
export function useSize(box: RefObject<HTMLElement | null>): { width: number; height: number } {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, [box]);
  return size;
}

/** The page's root font size in CSS pixels; the wall scales with it. */
export const rootFontSize = (): number => Number.parseFloat(getComputedStyle(document.documentElement).fontSize);

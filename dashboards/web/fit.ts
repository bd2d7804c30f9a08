/**
 * A wall is not scrolled: a list there shows as many whole entries as fit. The hook measures how many entries of a
 * known height fit into the list's box. On other layouts everything is shown and the page scrolls.
 */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { rootFontSize } from "./environment.js";

/** @returns the ref for the list's box, and how many entries of `entryRem` (in rem) fit below `headRem`. */
export function useFit<Box extends HTMLElement>(entryRem: number, headRem: number, measured: boolean) {
  const box = useRef<Box>(null);
  const [fit, setFit] = useState(0);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || !measured) return;
    const measure = () => {
      const rem = rootFontSize();
      setFit(Math.max(1, Math.floor((element.clientHeight / rem - headRem) / entryRem)));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [entryRem, headRem, measured]);
  return { box, fit: measured ? fit : Number.POSITIVE_INFINITY };
}

/**
 * Measures a page in the browser: texts that are cut by their own box or by one around them, texts that lie on each
 * other, and a page that is wider than its window. Texts that are cut on purpose, with an ellipsis, and texts for
 * screen readers alone are left out.
 */
import type { Page } from "playwright-core";

/** Runs in the page. Answers a sentence for each fault, 20 at most. */
const MEASURE = `(() => {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push("the page is " + (root.scrollWidth - root.clientWidth) + " px too wide");
  const texts = [];
  const walker = document.createTreeWalker(document.querySelector("dialog[open]") ?? document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent.trim();
    const parent = node.parentElement;
    if (text === "" || !parent || parent.closest("script, style, noscript, option, title, .visually-hidden")) continue;
    if (!parent.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects())
      if (rect.width > 1 && rect.height > 1) texts.push({ text: text.slice(0, 40), rect, parent });
  }
  for (const { text, rect, parent } of texts) {
    for (let box = parent; box && box !== document.body; box = box.parentElement) {
      const style = getComputedStyle(box);
      if (style.textOverflow === "ellipsis") break;
      const around = box.getBoundingClientRect();
      const isCut = (overflow, out) => overflow === "hidden" && out > 1.5;
      if (isCut(style.overflowX, Math.max(around.left - rect.left, rect.right - around.right)) ||
          isCut(style.overflowY, Math.max(around.top - rect.top, rect.bottom - around.bottom) - rect.height * 0.2))
        faults.push("cut: " + text);
      // What scrolls shows the rest; what is outside of it is not seen now.
      if (/auto|scroll/.test(style.overflowY)) break;
    }
  }
  const seen = texts.filter(({ rect, parent }) => {
    for (let box = parent; box; box = box.parentElement) {
      if (!/auto|scroll|hidden/.test(getComputedStyle(box).overflowY) || box === document.body || box === root) continue;
      const around = box.getBoundingClientRect();
      if (rect.bottom > around.bottom + 2 || rect.top < around.top - 2) return false;
    }
    return true;
  });
  for (let i = 0; i < seen.length; i++)
    for (let j = i + 1; j < seen.length; j++) {
      const a = seen[i], b = seen[j];
      if (a.parent === b.parent) continue;
      const wide = Math.min(a.rect.right, b.rect.right) - Math.max(a.rect.left, b.rect.left);
      const high = Math.min(a.rect.bottom, b.rect.bottom) - Math.max(a.rect.top, b.rect.top);
      // Line boxes are higher than letters: neighbours may touch by a part of their height.
      if (wide > 2 && high > 0.45 * Math.min(a.rect.height, b.rect.height)) faults.push("on each other: " + a.text + " / " + b.text);
    }
  return [...new Set(faults)].slice(0, 20);
})()`;

/** What cannot be read on a page, each in a sentence; empty when everything can. */
export const illegible = (page: Page): Promise<string[]> => page.evaluate(MEASURE) as Promise<string[]>;

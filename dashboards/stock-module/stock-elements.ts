/**
 * The elements of the page that show stock: those with `data-shuiwei-sku`, also when they are added later. It writes
 * their text and `data-state`, tells the page of changes by the event `shuiwei-stock`, and knows which are seen.
 */
import type { Display } from "./known-stock.js";
import type { StockDetail, StockTexts } from "./shuiwei-stock.js";

const ATTRIBUTE = "data-shuiwei-sku";
/** What is so near to the window is read before it is scrolled into view. */
const NEAR = "200px";
/** As the engine requires: it would refuse a whole request for one other. */
const SKU = /^(?!\s*$)[^\p{Cc}\p{Cs}]{1,64}$/u;

export class StockElements {
  readonly #texts: StockTexts;
  readonly #onChange: () => void;
  #skus = new Map<HTMLElement, string>();
  readonly #seen = new Set<Element>();
  readonly #added = new MutationObserver(() => this.scan());
  readonly #moved = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.#seen.add(target);
        else this.#seen.delete(target);
      }
      this.#onChange();
    },
    { rootMargin: NEAR },
  );

  /** @param onChange other elements are seen */
  constructor(texts: StockTexts, onChange: () => void) {
    this.#texts = texts;
    this.#onChange = onChange;
    this.#added.observe(document, { subtree: true, childList: true, attributeFilter: [ATTRIBUTE] });
  }

  /** Finds the elements that were added, and forgets those that were removed: no number stays in them. */
  scan(): void {
    const before = this.#skus;
    this.#skus = new Map();
    let isNew = false;
    for (const element of document.querySelectorAll<HTMLElement>(`[${ATTRIBUTE}]`)) {
      const sku = element.getAttribute(ATTRIBUTE) as string;
      if (!SKU.test(sku)) continue;
      this.#skus.set(element, sku);
      isNew ||= before.get(element) !== sku;
      if (before.delete(element)) continue;
      if (!element.ariaLive) element.ariaLive = "polite";
      this.#moved.observe(element);
    }
    for (const element of before.keys()) {
      this.#seen.delete(element);
      this.#moved.unobserve(element);
      delete element.dataset["state"];
      element.textContent = "";
    }
    if (isNew) this.#onChange();
  }

  all(): Iterable<string> {
    return this.#skus.values();
  }

  /** None while the page is hidden. */
  seen(): string[] {
    if (document.hidden) return [];
    return [...new Set([...this.#skus].flatMap(([element, sku]) => (this.#seen.has(element) ? [sku] : [])))];
  }

  /** @param shown what may be shown of a SKU; undefined: nothing */
  show(shown: (sku: string) => Display | undefined): void {
    for (const [element, sku] of this.#skus) {
      const display = shown(sku);
      const state = display === undefined ? "checking" : display ? "in" : "out";
      const text = this.#texts[state].replace("{n}", String(display));
      if (element.dataset["state"] === state && element.textContent === text) continue;
      element.dataset["state"] = state;
      element.textContent = text;
      const detail: StockDetail = { sku, state, display };
      element.dispatchEvent(new CustomEvent("shuiwei-stock", { bubbles: true, detail }));
    }
  }

  stop(): void {
    this.#added.disconnect();
    this.#moved.disconnect();
    this.show(() => undefined);
    this.#skus.clear();
  }
}

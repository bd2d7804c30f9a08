/**
 * `shuiwei-stock.js` on a shop's page in a real Chromium, from another origin and through nginx: numbers are shown, a
 * sell-out is seen soon with push and in time without, and no number stays when the engine or the network is away. How
 * long each takes is printed. Needs a build and a browser.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StorefrontBed } from "./storefront-bed.js";
import type { StockChange } from "./storefront-page.js";

const bed = new StorefrontBed();
beforeAll(() => bed.start());
afterAll(() => bed.stop());

const statesOf = (page: Page) =>
  page.evaluate(() =>
    // biome-ignore lint/suspicious/noExplicitAny: the page's scope has no type here
    [...(globalThis as any).document.querySelectorAll("[data-shuiwei-sku]")].map(
      // biome-ignore lint/suspicious/noExplicitAny: an element of the page
      (element: any) => `${element.dataset.state} ${element.textContent}`,
    ),
  );
const quantile = (sorted: readonly number[], q: number): number => sorted[Math.ceil(q * sorted.length) - 1] as number;
const summary = (times: readonly number[]): string => {
  const sorted = [...times].sort((a, b) => a - b);
  const [p50, p99, max] = [quantile(sorted, 0.5), quantile(sorted, 0.99), sorted.at(-1)];
  return `${sorted.length} changes: p50 ${p50} ms, p99 ${p99} ms, longest ${max} ms`;
};

describe("a shop's page", () => {
  it.each(["query", "publication"] as const)("shows what can be bought and what cannot (%s)", async (mode) => {
    const [some, none] = [`some-${mode}`, `none-${mode}`];
    await bed.receive(12, some);
    await bed.receive(1, none);
    await bed.sell(none, 1);
    const page = await bed.open({ base: bed.edgeUrl, skus: [some, none, "never"], mode, push: false });
    await expect.poll(() => statesOf(page)).toEqual(["in 12 in stock", "out Sold out", "out Sold out"]);
    await page.close();
  });

  it("speaks the page's language, and finds elements that are added later and SKUs that change", async () => {
    await bed.receive(5, "S-3");
    const page = await bed.open({ base: bed.edgeUrl, skus: ["S-3"], push: true, lang: "zh" });
    await expect.poll(() => statesOf(page)).toEqual(["in 有货 5 件"]);
    await page.evaluate(() => {
      // biome-ignore lint/suspicious/noExplicitAny: the page's scope has no type here
      const { document } = globalThis as any;
      const added = document.createElement("b");
      added.setAttribute("data-shuiwei-sku", "S-3");
      document.body.append(added);
      document.querySelector("span").setAttribute("data-shuiwei-sku", "never");
    });
    await expect.poll(() => statesOf(page)).toEqual(["out 已售罄", "in 有货 5 件"]);
    await page.close();
  });
});

describe("no number stays", () => {
  it("where no SKU is any more, nor on a hidden page, nor when it was stopped, whatever else the page contains", async () => {
    const skus = ["K-1", "", "x".repeat(65), "K-2"];
    await bed.receive(5, "K-1", "K-2");
    const page = await bed.open({ base: bed.edgeUrl, skus, push: true });
    await expect.poll(() => statesOf(page)).toEqual(["in 5 in stock", "undefined ", "undefined ", "in 5 in stock"]);
    const text = (place: number) => page.locator("span").nth(place).textContent();
    await page.evaluate(`document.querySelectorAll("span")[3].removeAttribute("data-shuiwei-sku")`);
    expect(await text(3)).toBe("");
    await page.evaluate(`Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }))`);
    expect(await text(0)).toBe("Being checked");
    await page.evaluate(`delete document.hidden;
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }))`);
    await expect.poll(() => text(0)).toBe("5 in stock");
    // Also when a listener of the module's own event stops it.
    await page.evaluate(`document.addEventListener("shuiwei-stock", () => stock.stop(), { once: true });
      document.querySelector("span").setAttribute("data-shuiwei-sku", "K-3")`);
    await expect.poll(() => text(0)).toBe("Being checked");
    let requests = 0;
    page.on("request", () => requests++);
    await sleep(7_000);
    expect([requests, await text(0)]).toEqual([0, "Being checked"]);
    await page.close();
  });
});

describe("a sell-out and a return", () => {
  it("are seen at once with push", async () => {
    const seen = new Map<string, number>();
    const times: number[] = [];
    const onChange = ({ state, atMs }: StockChange): void => void seen.set(state, atMs);
    await bed.receive(1, "F-1");
    const page = await bed.open({ base: bed.edgeUrl, skus: ["F-1"], push: true }, onChange);
    await expect.poll(() => statesOf(page)).toEqual(["in 1 in stock"]);
    for (let flip = 0; flip < 120; flip++) {
      const state = flip % 2 === 0 ? "out" : "in";
      seen.delete(state);
      const fromMs = Date.now();
      await (state === "out" ? bed.sell("F-1", 1) : bed.receive(1, "F-1"));
      await expect.poll(() => seen.has(state), { interval: 5 }).toBe(true);
      times.push((seen.get(state) as number) - fromMs);
    }
    console.info(`with push, ${summary(times)}`);
    await page.close();
  });

  it("are seen in time without", async () => {
    const skus = Array.from({ length: 100 }, (_, i) => `W-${i}`);
    const seen = new Map<string, number>();
    const from = new Map<string, number>();
    const onChange = ({ sku, state, atMs }: StockChange): void => {
      if (state === "out" && from.has(sku)) seen.set(sku, atMs);
    };
    await bed.receive(1, ...skus);
    const page = await bed.open({ base: bed.edgeUrl, skus, push: false }, onChange);
    // All are in the window, as far as the module knows.
    await page.setViewportSize({ width: 800, height: 6_000 });
    await expect.poll(async () => (await statesOf(page)).filter((each) => each.startsWith("in")).length).toBe(100);
    for (const sku of skus) {
      from.set(sku, Date.now());
      await bed.sell(sku, 1);
      await sleep(200);
    }
    await expect.poll(() => seen.size).toBe(100);
    console.info(`without push, ${summary(skus.map((sku) => (seen.get(sku) ?? 0) - (from.get(sku) ?? 0)))}`);
    await page.close();
  });
});

describe("no number is shown", () => {
  let changed: StockChange | undefined;
  const onChange = (change: StockChange): void => {
    changed = change;
  };
  const gone = async (page: Page, from: () => unknown, back: () => unknown, what: string) => {
    await expect.poll(() => statesOf(page)).toEqual(["in 7 in stock"]);
    await from();
    const fromMs = Date.now();
    await expect.poll(() => statesOf(page)).toEqual(["checking Being checked"]);
    console.info(`${what}: no number after ${(changed?.atMs ?? 0) - fromMs} ms`);
    await sleep(3_000);
    expect(await statesOf(page)).toEqual(["checking Being checked"]);
    await back();
    await expect.poll(() => statesOf(page)).toEqual(["in 7 in stock"]);
  };

  it.each([true, false])("while the engine is away, and again when it is back (push: %s)", async (push) => {
    const sku = push ? "G-1" : "G-2";
    await bed.receive(7, sku);
    const page = await bed.open({ base: bed.edgeUrl, skus: [sku], push }, onChange);
    const pause = () => bed.pause();
    await gone(page, pause, () => bed.resume(), `engine away, push ${push}`);
    await page.close();
  });

  it("while there is no network, and again when there is", async () => {
    await bed.receive(7, "G-3");
    const page = await bed.open({ base: bed.edgeUrl, skus: ["G-3"], push: true }, onChange);
    await gone(
      page,
      () => page.context().setOffline(true),
      () => page.context().setOffline(false),
      "offline",
    );
    await page.close();
  });
});

describe("nothing is asked", () => {
  it("while the page is hidden, or no element is near the window", async () => {
    await bed.receive(3, "H-1");
    const page = await bed.open({ base: bed.edgeUrl, skus: ["H-1"], push: true });
    await expect.poll(() => statesOf(page)).toEqual(["in 3 in stock"]);
    let requests = 0;
    const changed = (script: string) => page.evaluate(script);
    const quiet = async () => {
      await sleep(500);
      requests = 0;
      await sleep(8_000);
      return requests;
    };
    page.on("request", () => requests++);
    await changed(`Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }))`);
    expect(await quiet()).toBe(0);
    await changed(`delete document.hidden;
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }))`);
    await expect.poll(() => requests).toBeGreaterThan(0);
    await changed(`document.body.style.paddingTop = "5000px"`);
    expect(await quiet()).toBe(0);
    await changed(`document.body.style.paddingTop = "0"`);
    await expect.poll(() => requests).toBeGreaterThan(0);
    await page.close();
  });
});

it("no page has reported an error", () => expect(bed.faults).toEqual([]));

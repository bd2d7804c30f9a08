/**
 * The demo's storefront in a real Chromium: every good gets its stock from `shuiwei-stock.js`, in both languages and on
 * three sizes of screen, and without a network no figure stays. Needs a build and a browser.
 */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { PhoneBed } from "./phone-bed.js";

const bed = new PhoneBed();
beforeAll(() => bed.start());
afterAll(() => bed.stop());

const goodsIn = (page: Page, state: string) => page.locator(`[data-testid="good"][data-state="${state}"]`).count();
const health = (page: Page) => page.getByTestId("health").getAttribute("data-health");

it.each([
  ["a desk", 1440, 900, "zh"],
  ["a large screen", 1920, 1080, "en"],
  ["a phone", 390, 844, "zh"],
] as const)("shows all goods with their stock on %s", async (_name, width, height, language) => {
  const page = await bed.open("/shop", { width, height, language, scheme: "light" });
  await expect.poll(() => health(page)).toBe("live");
  await expect.poll(() => goodsIn(page, "in")).toBeGreaterThan(5);
  const overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  expect(overflow).toBeLessThanOrEqual(0);
  const texts = await page.getByTestId("stock").allInnerTexts();
  expect(texts.join("")).toMatch(language === "zh" ? /有货 \d+ 件/ : /\d+ in stock/);
  await page.close();
});

it("changes its language, and shows no figure while there is no network", async () => {
  const page = await bed.open("/shop", { width: 1440, height: 900, language: "zh", scheme: "light" });
  await expect.poll(() => health(page)).toBe("live");
  await page.getByRole("button", { name: "Switch to English" }).click();
  await expect.poll(async () => (await page.getByTestId("stock").allInnerTexts()).join("")).toMatch(/\d+ in stock/);
  await bed.context.setOffline(true);
  await expect.poll(() => health(page)).toBe("offline");
  await expect.poll(() => goodsIn(page, "in")).toBe(0);
  await bed.context.setOffline(false);
  await expect.poll(() => health(page)).toBe("live");
  expect(bed.faults).toEqual([]);
  await page.close();
});

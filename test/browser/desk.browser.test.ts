/**
 * The desk from outside: the built `serve` with sources that report over HTTP, and the page in a real Chromium. A WMS
 * lacks some units: the breaker opens by itself, the desk says why and where, an operator approves the corrections and
 * closes it. Every state is measured for texts that are cut or lie on each other, at two sizes and in both languages.
 * Needs a build and a browser; `npm run test:browser` makes the build.
 */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeskBed, skuOf } from "./desk-bed.js";
import { illegible } from "./legibility.js";

const SLOW_MS = 60_000;
const VIEWS = [
  { width: 1440, height: 900, language: "en" },
  { width: 1440, height: 900, language: "zh" },
  { width: 390, height: 844, language: "en" },
  { width: 390, height: 844, language: "zh" },
] as const;
const nameOf = ({ width, language }: (typeof VIEWS)[number]): string => `${width} px, ${language}`;
const views = VIEWS.map((view) => [nameOf(view), view] as const);

/** 160 of 18,000 units are 0.89 %. */
const LACKS = { [`${skuOf(3)} SHA`]: 60, [`${skuOf(7)} CAN`]: 40, [`${skuOf(11)} CTU`]: 60 };

const bed = new DeskBed();
let desk: Page;

const state = (page: Page) => page.getByTestId("breaker-state").first().getAttribute("data-state");
const rows = (page: Page) => page.getByTestId("difference").count();

/** Fills the reason of the open dialog and confirms. */
async function confirm(page: Page, reason: string): Promise<void> {
  const dialog = page.locator("dialog[open]");
  await dialog.locator('[name="reason"]').fill(reason);
  await dialog.locator('[type="submit"]').click();
  await dialog.waitFor({ state: "hidden", timeout: SLOW_MS });
}

beforeAll(async () => {
  await bed.start();
  await bed.openShop();
  desk = await bed.open(VIEWS[0]);
}, 120_000);

afterAll(() => bed.stop());

describe("the desk without a source", () => {
  it("explains how to connect one", async () => {
    const sources = desk.getByTestId("desk-sources");
    await expect.poll(() => sources.innerText(), { timeout: SLOW_MS }).toContain("snapshots send");
    expect(await state(desk)).toBe("closed");
  });

  it.each(views)("can be read at %s", async (_name, view) => {
    const page = await bed.open(view);
    await page.getByTestId("desk-empty").first().waitFor({ timeout: SLOW_MS });
    expect(await illegible(page)).toEqual([]);
    await page.context().close();
  });
});

describe("the desk while figures part", () => {
  it("shows sources that agree", async () => {
    await bed.report("erp");
    await bed.report("wms");
    const pair = desk.locator('[data-pair="wms:ledger"]');
    await expect.poll(() => pair.innerText(), { timeout: SLOW_MS }).toContain("0.00%");
    await expect.poll(() => desk.getByTestId("source").count(), { timeout: SLOW_MS }).toBe(2);
  });

  it("shows that the breaker has opened by itself, and why", async () => {
    await bed.report("wms", LACKS);
    await expect.poll(() => state(desk), { timeout: SLOW_MS }).toBe("open");
    const breaker = await desk.getByTestId("breaker-state").innerText();
    expect(breaker).toContain("WMS");
    expect(breaker).toContain("0.89%");
    expect(breaker).toContain(skuOf(3));
    // The page reads breakers and comparisons at intervals of their own.
    const tone = () => desk.locator('[data-pair="wms:ledger"]').getAttribute("data-tone");
    await expect.poll(tone, { timeout: SLOW_MS }).toBe("alarm");
  });

  it("lists the differences, and where a SKU parts", async () => {
    await expect.poll(() => rows(desk), { timeout: SLOW_MS }).toBe(3);
    await desk.getByRole("button", { name: skuOf(3) }).click();
    await desk.getByTestId("where").waitFor({ timeout: SLOW_MS });
    await expect.poll(() => desk.getByTestId("story").innerText(), { timeout: SLOW_MS }).toContain("opening stock");
  });

  it.each(views)("can be read at %s, with a row's story and with its dialogs", async (_name, view) => {
    const page = await bed.open(view);
    await expect.poll(() => rows(page), { timeout: SLOW_MS }).toBe(3);
    await page.getByRole("button", { name: skuOf(3) }).click();
    await page.getByTestId("where").waitFor({ timeout: SLOW_MS });
    await expect.poll(() => page.getByTestId("story").innerText(), { timeout: SLOW_MS }).toContain("opening stock");
    expect(await illegible(page)).toEqual([]);
    const dialog = page.locator("dialog[open]");
    await page.locator('[data-action="extend"]').click();
    await dialog.waitFor();
    expect(await illegible(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await page.context().close();
  });

  it.each(views)("shows the wall's banner so that it can be read at %s", async (_name, view) => {
    const page = await bed.open(view);
    await page.goto(`${bed.url}/?lang=${view.language}`);
    await page.getByTestId("breaker").waitFor({ timeout: SLOW_MS });
    expect(await page.getByTestId("breaker").innerText()).toContain("WMS");
    expect(await illegible(page)).toEqual([]);
    await page.getByTestId("desk-link").click();
    await page.getByTestId("desk-breaker").waitFor();
    await page.context().close();
  });

  it("has no buttons for who may only read", async () => {
    const page = await bed.open({ ...VIEWS[0], role: "read" });
    await expect.poll(() => rows(page), { timeout: SLOW_MS }).toBe(3);
    expect(await page.locator("[data-action]").count()).toBe(0);
    expect(await page.locator('input[type="checkbox"]').count()).toBe(0);
    await page.context().close();
  });
});

describe("an operator at the desk", () => {
  it("extends the breaker, with a reason", async () => {
    await desk.locator('[data-action="extend"]').click();
    await confirm(desk, "the shelf is being counted");
    const breaker = desk.getByTestId("breaker-state");
    await expect.poll(() => breaker.innerText(), { timeout: SLOW_MS }).toContain("the shelf is being counted");
  });

  it("approves the corrections by keyboard, and they are gone from the list", async () => {
    await desk.getByLabel("Choose all rows").focus();
    await desk.keyboard.press("Space");
    await desk.locator('[data-action="approval"]').focus();
    await desk.keyboard.press("Enter");
    await confirm(desk, "counted: the goods are not there");
    await expect.poll(() => desk.getByTestId("settled-note").innerText(), { timeout: SLOW_MS }).toContain("3");
    await expect.poll(() => rows(desk), { timeout: SLOW_MS }).toBe(0);
  });

  it("compares again, and the figures agree", async () => {
    await desk.locator('[data-action="compare"]').click();
    const pair = desk.locator('[data-pair="wms:ledger"]');
    await expect.poll(() => pair.innerText(), { timeout: SLOW_MS }).toContain("0.00%");
  });

  it("closes the breaker, which the history tells with the operator's name", async () => {
    await desk.locator('[data-action="close"]').click();
    await confirm(desk, "settled");
    await expect.poll(() => state(desk), { timeout: SLOW_MS }).toBe("closed");
    const history = desk.locator(".history-entry").first();
    await expect.poll(() => history.innerText(), { timeout: SLOW_MS }).toContain("settled");
    expect(await history.innerText()).toContain("lin/desk");
  });

  it("sees no error", () => {
    expect(bed.faults, bed.faults.join("; ")).toEqual([]);
  });
});

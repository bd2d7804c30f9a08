/**
 * The phone page from outside, in a real Chromium on the built demo: it can be installed, shows pushes, reports that
 * they were displayed, acknowledges from the notification so that the wall shows it, and opens without a network with
 * the last state and its age. Every screen is measured for texts that are cut or lie on each other, in both languages
 * and themes. Needs a build and a browser; `npm run test:browser` makes the build.
 */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { illegible } from "./legibility.js";
import { PhoneBed, type View } from "./phone-bed.js";

const SLOW_MS = 90_000;
const PHONE: View = { width: 390, height: 844, language: "en", scheme: "dark" };
const VIEWS: readonly View[] = [
  PHONE,
  { ...PHONE, language: "zh" },
  { ...PHONE, scheme: "light" },
  { ...PHONE, language: "zh", scheme: "light" },
];
const views = VIEWS.map((view) => [`${view.language}, ${view.scheme}`, view] as const);

const bed = new PhoneBed();
let phone: Page;

const cards = (page: Page) => page.getByTestId("alert");
/** Those of depletion: others are cleared at any time. */
const fired = (page: Page) => page.locator('[data-testid="alert"][data-state="fired"]:not([data-id*="~"])');

beforeAll(async () => {
  await bed.start();
  phone = await bed.open("/phone", PHONE);
  // The first minutes of the rush have several.
  await fired(phone).nth(2).waitFor({ timeout: SLOW_MS });
}, 180_000);

afterAll(() => bed.stop());

/** Buttons and links that are too small for a thumb. */
const smallTargets = (page: Page) =>
  page.evaluate(`[...document.querySelectorAll("button, a, input, select")]
    .filter((each) => each.checkVisibility() && !each.closest(".visually-hidden"))
    .map((each) => [each, (each.closest("label") ?? each).getBoundingClientRect()])
    .filter(([, { height }]) => height < 43.5)
    .map(([each, { height }]) => (each.textContent || each.name) + " " + height)`) as Promise<string[]>;

/** Buttons, links and fields without a name for a screen reader. */
const nameless = (page: Page) =>
  page.evaluate(`[...document.querySelectorAll("button, a, input, select, [role=img]")]
    .filter((each) => each.checkVisibility())
    .filter((each) => !(each.textContent || each.ariaLabel || each.labels?.length || each.title))
    .map((each) => each.outerHTML.slice(0, 80))`) as Promise<string[]>;

async function expectLegible(page: Page): Promise<void> {
  const tabs = await page.locator(".tabs").boundingBox();
  expect(tabs?.height).toBeLessThan(80);
  // What stays in its place while the page scrolls lies over other texts on purpose.
  await page.evaluate(
    `for (const each of document.querySelectorAll(".phone-header, .tabs, .action-bar")) each.style.position = "static"`,
  );
  expect(await illegible(page)).toEqual([]);
  expect(await smallTargets(page)).toEqual([]);
  expect(await nameless(page)).toEqual([]);
}

describe("the phone", () => {
  it.each(views)("lists alerts legibly (%s)", async (_name, view) => {
    const page = await bed.open("/phone", view);
    await cards(page).first().waitFor({ timeout: SLOW_MS });
    await expectLegible(page);
    await page.close();
  });

  it.each(views)("shows one alert legibly (%s)", async (_name, view) => {
    const id = await fired(phone).first().getAttribute("data-id");
    const page = await bed.open(`/phone#alert=${encodeURIComponent(id ?? "")}`, view);
    await page.locator(".facts").waitFor({ timeout: SLOW_MS });
    await expectLegible(page);
    await page.close();
  });

  it.each(views)("has legible settings (%s)", async (_name, view) => {
    const page = await bed.open("/phone#settings", view);
    await page.getByTestId("ladder").waitFor({ timeout: SLOW_MS });
    await expectLegible(page);
    await page.close();
  });

  it("can be installed", async () => {
    const session = await bed.context.newCDPSession(phone);
    const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
    expect(installabilityErrors).toEqual([]);
    await session.detach();
  });

  it("acknowledges by one tap", async () => {
    const id = (await fired(phone).nth(1).getAttribute("data-id")) as string;
    const card = phone.locator(`[data-testid="alert"][data-id="${id}"]`);
    await card.getByRole("button").first().click();
    await expect.poll(() => card.getAttribute("data-state"), { timeout: SLOW_MS }).toBe("acknowledged");
  });
});

describe("a push", () => {
  const pushOf = (id: string) => ({
    web_push: 8030,
    notification: { title: `Alert: ${id}`, body: "60 units", lang: "en", tag: `alert:${id}`, navigate: "/phone" },
    shuiwei: { messageId: "person:demo/999999", device: "no-such-device", alertIds: [id], type: "alert" },
  });

  it("becomes a notification, and its display is reported", async () => {
    const id = (await fired(phone).first().getAttribute("data-id")) as string;
    const reported = bed.context.waitForEvent("request", {
      predicate: (request) => request.url().endsWith("/displayed"),
      timeout: SLOW_MS,
    });
    await bed.push(phone, pushOf(id));
    await expect
      .poll(() => bed.notifications(), { timeout: SLOW_MS })
      .toEqual([{ title: `Alert: ${id}`, body: "60 units", tag: `alert:${id}`, actions: ["acknowledge", "open"] }]);
    const request = await reported;
    expect(decodeURIComponent(request.url())).toContain("person:demo/999999");
    expect(request.postDataJSON()).toEqual({ device: "no-such-device" });
  });

  it("is acknowledged from the notification, and the wall shows it", async () => {
    const wall = await bed.open("/", { width: 1280, height: 800, language: "en", scheme: "dark" });
    const [shown] = await bed.notifications();
    const id = shown?.tag.replace("alert:", "") ?? "";
    const onWall = wall.locator(`[data-testid="alert"][data-id="${id}"]`);
    await onWall.waitFor({ timeout: SLOW_MS });
    expect(await bed.tap("acknowledge")).toBeUndefined();
    const from = performance.now();
    await expect.poll(() => onWall.getAttribute("data-state"), { timeout: SLOW_MS, interval: 50 }).not.toBe("fired");
    console.info(`acknowledged on the phone, on the wall ${Math.round(performance.now() - from)} ms later`);
    expect(await bed.notifications()).toEqual([]);
    await wall.close();
  });

  it("about the same alert replaces the earlier notification", async () => {
    const push = pushOf("TEA-01#1");
    await bed.push(phone, push);
    await bed.push(phone, { ...push, notification: { ...push.notification, title: "Cleared", silent: true } });
    await expect
      .poll(async () => (await bed.notifications()).map(({ title }) => title), { timeout: SLOW_MS })
      .toEqual(["Cleared"]);
  });

  it("that cannot be read shows a general notice", async () => {
    await bed.push(phone, "not JSON");
    await expect
      .poll(async () => (await bed.notifications()).map(({ title }) => title), { timeout: SLOW_MS })
      .toContain("Shuiwei: a new alert");
  });

  it("opens no page of another site", async () => {
    await phone.close();
    await bed.push(await bed.open("/", PHONE), {
      notification: { title: "x", tag: "x", navigate: "https://example.org/phone" },
    });
    await expect
      .poll(async () => (await bed.notifications()).map(({ title }) => title), { timeout: SLOW_MS })
      .toContain("x");
    expect(await bed.tap("")).toBe(`${bed.url}/phone`);
  });
});

describe("without a network", () => {
  it("opens with the last state and its age", async () => {
    phone = await bed.open("/phone", PHONE);
    await cards(phone).first().waitFor({ timeout: SLOW_MS });
    await expect
      .poll(() => phone.evaluate(`localStorage.getItem("shuiwei.phone.last") !== null`), { timeout: SLOW_MS })
      .toBe(true);
    await bed.context.setOffline(true);
    await phone.reload();
    await cards(phone).first().waitFor({ timeout: SLOW_MS });
    await phone.getByTestId("old").waitFor({ timeout: SLOW_MS });
    expect(await phone.getByTestId("old").innerText()).toMatch(/Offline\s+Last updated \d+ (s|min) ago/);
    await expectLegible(phone);
    await bed.context.setOffline(false);
    await expect
      .poll(() => phone.getByTestId("connection").getAttribute("data-state"), { timeout: SLOW_MS })
      .toBe("live");
  });

  it("has sent nothing to other hosts and reported no error", () => {
    expect(bed.faults, bed.faults.join("; ")).toEqual([]);
  });
});

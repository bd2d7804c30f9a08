/**
 * The whole way of an alert from outside, with the built `serve`: a phone is paired by the link of the desk's QR code
 * and turns notifications on; an order depletes a SKU; the sandbox of a push service decrypts the push, the phone's
 * service worker shows it and reports so; the notification's button acknowledges it, and the wall shows it. Then
 * silences, a server that is away, and ended sessions. The browser's own push service cannot be reached here, so its
 * subscription is the sandbox's.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PushSandbox, type ReceivedPush } from "../../connectors/web-push/sandbox.js";
import { chainId } from "../../engine/kernel/chain-id.js";
import { BROWSER_ARGUMENTS, browserPath, PhoneBed, type View } from "./phone-bed.js";

const SLOW_MS = 60_000;
const patience = { timeout: SLOW_MS, interval: 50 };
const TOKEN = "a-token-of-the-browser-test";
const PHONE: View = { width: 390, height: 844, language: "en", scheme: "dark" };

const bed = new PhoneBed();
const service = new PushSandbox();
const folder = mkdtempSync(join(tmpdir(), "shuiwei-way-"));
const pushes: ReceivedPush[] = [];
let office: Browser;
let desk: Page;
let wall: Page;
let phone: Page;

async function ask(method: string, path: string, body?: object, type = "application/json") {
  const answer = await fetch(bed.url + path, {
    method,
    headers: {
      authorization: `Bearer ${TOKEN}`,
      ...(body === undefined ? {} : { "content-type": type }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}

/** Gives the phone's browser a subscription of the sandbox when the page requests one. */
async function stubSubscription(page: Page): Promise<void> {
  await page.exposeFunction("subscribeAtSandbox", (key: string) => service.subscribe(key));
  await page.addInitScript(`
    let subscribed = null;
    PushManager.prototype.getSubscription = async () => subscribed;
    PushManager.prototype.subscribe = async ({ applicationServerKey }) => {
      const key = new Uint8Array(applicationServerKey);
      const text = btoa(String.fromCharCode(...key)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
      const subscription = await window.subscribeAtSandbox(text);
      subscribed = {
        options: { applicationServerKey: key.buffer },
        toJSON: () => subscription,
        unsubscribe: async () => true,
      };
      return subscribed;
    };`);
}

/** The code that the desk shows below its QR code for a person. */
async function pairingCode(): Promise<string> {
  await desk.getByTestId("person").getByRole("button", { name: "Pair a phone" }).click();
  const dialog = desk.locator("dialog[open]");
  await dialog.locator("svg path").waitFor({ state: "attached", timeout: SLOW_MS });
  const code = await dialog.locator("code").innerText();
  await desk.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden", timeout: SLOW_MS });
  return code;
}

async function pairPhone(): Promise<void> {
  await phone.goto(`${bed.url}/pair#${await pairingCode()}`);
  await phone.waitForURL(`${bed.url}/phone`, { timeout: SLOW_MS });
  await phone.goto(`${bed.url}/phone?lang=en#settings`);
  await phone.getByTestId("this-device").waitFor({ timeout: SLOW_MS });
}

/** The newest push about something, once it has arrived at the push service. */
async function pushOf(text: string): Promise<ReceivedPush> {
  const find = () => pushes.findLast((push) => push.text.includes(text));
  await expect.poll(() => find() !== undefined, patience).toBe(true);
  return find() as ReceivedPush;
}

/** An order that sells more of a new SKU in an hour than the rule allows. */
async function deplete(sku: string): Promise<void> {
  const nowMs = Date.now();
  const receipt = {
    ...{ kind: "receive", id: chainId("RC", nowMs), sku, location: "SHA", units: 500 },
    ...{ actor: "receiving", reason: "opening stock" },
  };
  await ask("POST", "/v1/commands", receipt, "application/x-ndjson");
  await ask("POST", "/v1/orders", { id: chainId("WB", nowMs), lines: [{ sku, location: "SHA", units: 120 }] });
}

const stateOf = (page: Page, testId: string, id: string) =>
  page.locator(`[data-testid="${testId}"][data-id="${id}"]`).getAttribute("data-state", { timeout: SLOW_MS });

beforeAll(async () => {
  await service.start();
  service.onPush = (push) => pushes.push(push);
  const certificate = join(folder, "push-service.pem");
  writeFileSync(certificate, service.certificate);
  await bed.start({
    args: [
      ...["serve", "--tokens", `lin:admin:${TOKEN}`],
      ...["--vapid-subject", "mailto:ops@shop.com", "--push-hosts", service.host],
    ],
    environment: { NODE_EXTRA_CA_CERTS: certificate },
  });
  await ask("PUT", "/v1/people/li.wei", {
    ...{ name: "李伟", roles: ["purchasing"], language: "en", ladder: [["web-push"]] },
  });
  office = await chromium.launch({ executablePath: browserPath(), args: BROWSER_ARGUMENTS });
  const context = await office.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-GB" });
  const { link } = await ask("POST", "/v1/sessions/pairings", { label: "desk", role: "admin" });
  wall = await context.newPage();
  await wall.goto(link);
  await wall.waitForURL(`${bed.url}/`, { timeout: SLOW_MS });
  desk = await context.newPage();
  await desk.goto(`${bed.url}/desk?lang=en`);
  await desk.getByTestId("person").waitFor({ timeout: SLOW_MS });
  phone = await bed.context.newPage();
  await stubSubscription(phone);
}, 180_000);

afterAll(async () => {
  await office?.close();
  await bed.stop();
  await service.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("a phone", () => {
  it("is paired by the desk's QR code and turns notifications on", async () => {
    await pairPhone();
    await phone.getByRole("button", { name: "Turn notifications on" }).click();
    await expect.poll(() => phone.getByTestId("this-device").getAttribute("data-push"), patience).toBe("on");
    expect((await ask("GET", "/v1/sessions")).sessions.map(({ name }: { name: string }) => name)).toContain(
      "li.wei/phone",
    );
  });

  it("shows a test message, step by step", async () => {
    const test = phone.getByTestId("test-message");
    await test.getByRole("button").click();
    await bed.push(phone, (await pushOf('"test"')).text);
    await expect.poll(() => test.innerText(), patience).toContain("Displayed");
    expect(await bed.notifications()).toHaveLength(1);
  });

  it("displays the alert of an order, and its button acknowledges it on the wall", async () => {
    const id = "TEA-0001#1";
    await deplete("TEA-0001");
    await bed.push(phone, (await pushOf(id)).text);
    await expect.poll(async () => (await bed.notifications()).map(({ tag }) => tag), patience).toContain(`alert:${id}`);
    await phone.goto(`${bed.url}/phone?lang=en#alert=${encodeURIComponent(id)}`);
    const funnel = phone.getByTestId("funnel");
    await expect.poll(() => funnel.innerText({ timeout: SLOW_MS }), patience).toContain("Displayed");
    expect(await stateOf(wall, "alert", id)).toBe("fired");
    await bed.tap("acknowledge", `alert:${id}`);
    const from = performance.now();
    await expect.poll(() => stateOf(wall, "alert", id), patience).toBe("acknowledged");
    console.info(`acknowledged on the phone, on the wall ${Math.round(performance.now() - from)} ms later`);
    expect((await ask("GET", `/v1/alerts/${encodeURIComponent(id)}`)).acknowledgedBy).toBe("li.wei/phone");
    await expect.poll(() => desk.getByTestId("desk-alerts").innerText(), patience).toContain("by li.wei/phone");
  });

  it("silences an alert, and the desk ends the silence", async () => {
    const id = "TEA-0002#1";
    await deplete("TEA-0002");
    await pushOf(id);
    await phone.goto(`${bed.url}/phone?lang=en#list`);
    const card = phone.locator(`[data-testid="alert"][data-id="${id}"]`);
    await card.getByRole("button", { name: "Silence" }).click({ timeout: SLOW_MS });
    const sheet = phone.locator("dialog[open]");
    await sheet.locator('[name="reason"]').fill("promotion");
    await sheet.locator('[type="submit"]').click();
    await sheet.waitFor({ state: "hidden", timeout: SLOW_MS });
    await phone.goto(`${bed.url}/phone?lang=en#alert=${encodeURIComponent(id)}`);
    await expect.poll(() => phone.locator(".alert-title").innerText(), patience).toContain("Silenced until");
    await desk.reload();
    const silence = desk.getByTestId("silence");
    await expect.poll(() => silence.innerText({ timeout: SLOW_MS }), patience).toContain("promotion");
    await silence.getByRole("button").click();
    await expect.poll(() => silence.count(), patience).toBe(0);
  });

  it("is acknowledged from the desk, under the name of its session", async () => {
    const id = "TEA-0002#1";
    const row = desk.locator(`[data-testid="desk-alert"][data-id="${id}"]`);
    await row.getByRole("button", { name: "Acknowledge" }).click({ timeout: SLOW_MS });
    await expect.poll(() => row.getAttribute("data-state"), patience).toBe("acknowledged");
    expect((await ask("GET", `/v1/alerts/${encodeURIComponent(id)}`)).acknowledgedBy).toBe("lin/desk");
  });
});

describe("when the server is away, the phone", () => {
  it("shows the last list with its age, and fresh figures without a reload when it is back", async () => {
    await phone.goto(`${bed.url}/phone?lang=en#list`);
    const connection = phone.getByTestId("connection");
    await expect.poll(() => connection.getAttribute("data-state"), patience).toBe("live");
    await phone.evaluate("globalThis.isSamePage = true");
    await bed.stopProduct();
    await phone.getByTestId("old").waitFor({ timeout: SLOW_MS });
    expect(await phone.getByTestId("alert").count()).toBe(2);
    await bed.restartProduct();
    const from = performance.now();
    await expect.poll(() => connection.getAttribute("data-state"), patience).toBe("live");
    console.info(`live ${Math.round(performance.now() - from)} ms after the server's restart`);
    expect(await phone.evaluate("globalThis.isSamePage")).toBe(true);
  });

  it("shows the same in a second tab", async () => {
    const second = await bed.open("/phone", PHONE);
    await expect.poll(() => second.getByTestId("alert").count(), patience).toBe(2);
    await second.close();
  });
});

describe("a session that ends", () => {
  it("elsewhere leads to the page for pairing, which sends no screen's name as a token", async () => {
    const logins: string[] = [];
    phone.on("request", (request) => {
      if (request.method() === "POST" && request.url().endsWith("/v1/sessions")) logins.push(request.url());
    });
    const { sessions } = await ask("GET", "/v1/sessions");
    const { id } = sessions.find(({ name }: { name: string }) => name === "li.wei/phone");
    await ask("DELETE", `/v1/sessions/${id}`);
    await phone.locator("#secret").waitFor({ timeout: SLOW_MS });
    await phone.goto(`${bed.url}/phone?lang=en#alert=TEA-0001%231`);
    await phone.locator("#secret").waitFor({ timeout: SLOW_MS });
    expect(logins).toEqual([]);
  });

  it("by signing out deletes what the phone has stored", async () => {
    await pairPhone();
    await phone.getByRole("button", { name: "Sign out of this device" }).click();
    await phone.locator("#secret").waitFor({ timeout: SLOW_MS });
    expect(await phone.evaluate(`localStorage.getItem("shuiwei.phone.last")`)).toBeNull();
    expect(bed.faults, bed.faults.join("; ")).toEqual([]);
  });
});

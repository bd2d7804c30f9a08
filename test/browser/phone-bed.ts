/**
 * What the phone's browser tests run on: the built product as a process of its own, by default the demo; a phone-sized
 * page with notifications allowed; and the page's service worker, to which pushes are delivered as a push service's
 * connection would.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type BrowserContext, type CDPSession, chromium, type Page, type Worker } from "playwright-core";

const CLI = fileURLToPath(new URL("../../dist/engine/cli/main.js", import.meta.url));
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
export const BROWSER_ARGUMENTS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
];

export function browserPath(): string {
  const path = BROWSERS.find(existsSync);
  if (!path) throw new Error(`no browser: install chromium (looked for ${BROWSERS.join(", ")})`);
  return path;
}

export interface Product {
  args: readonly string[];
  environment?: Readonly<Record<string, string>>;
}

const DEMO: Product = { args: ["demo", "--speed", "12"] };

export interface View {
  width: number;
  height: number;
  language: "zh" | "en";
  scheme: "dark" | "light";
}

export class PhoneBed {
  readonly faults: string[] = [];
  url = "";
  #product: Product = DEMO;
  #process: ChildProcess | undefined;
  #context: BrowserContext | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), "shuiwei-phone-"));

  /** @param product the command with its options, without port and folder; and variables of its environment */
  async start(product: Product = DEMO): Promise<void> {
    this.#product = product;
    this.url = await this.#run("0");
    // A persistent one: only there a page can be installed and have notifications.
    this.#context = await chromium.launchPersistentContext(join(this.#folder, "browser"), {
      executablePath: browserPath(),
      args: BROWSER_ARGUMENTS,
      viewport: { width: 390, height: 844 },
      locale: "en-GB",
    });
    await this.context.grantPermissions(["notifications"], { origin: this.url });
  }

  /** Stops the product, not the browser. */
  async stopProduct(): Promise<void> {
    const running = this.#process;
    if (!running || running.exitCode !== null) return;
    running.kill("SIGINT");
    await once(running, "exit");
  }

  /** Starts it again under the same address and with the same data. */
  async restartProduct(): Promise<void> {
    await this.#run(new URL(this.url).port);
  }

  /** Resolves with its address once it answers. */
  async #run(port: string): Promise<string> {
    const { args, environment = {} } = this.#product;
    const running = spawn(process.execPath, [CLI, ...args, "--port", port, "--dir", this.#folder], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    });
    this.#process = running;
    const output: string[] = [];
    running.stderr.on("data", (text: Buffer) => output.push(text.toString()));
    const lines = createInterface({ input: running.stdout });
    return new Promise<string>((resolve, reject) => {
      lines.on("line", (line) => {
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
        if (found) resolve(found);
      });
      running.once("exit", () => reject(new Error(`the product ended: ${output.join("")}`)));
    });
  }

  get context(): BrowserContext {
    if (this.#context === undefined) throw new Error("the browser has not been started");
    return this.#context;
  }

  async stop(): Promise<void> {
    await this.#context?.close();
    await this.stopProduct();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Opens a page of the demo at a size, in a language and a colour scheme. */
  async open(path: string, { width, height, language, scheme }: View): Promise<Page> {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.faults.push(`page: ${error.message}`));
    page.on("request", (request) => {
      if (!request.url().startsWith(this.url) && !request.url().startsWith("data:"))
        this.faults.push(`foreign: ${request.url()}`);
    });
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    const [before = "", hash] = path.split("#");
    await page.goto(`${this.url}${before}?lang=${language}${hash === undefined ? "" : `#${hash}`}`);
    return page;
  }

  /** The page's service worker. */
  async worker(): Promise<Worker> {
    return this.context.serviceWorkers()[0] ?? (await this.context.waitForEvent("serviceworker"));
  }

  /**
   * Delivers a push to the page's service worker and resolves when its notification is displayed. Nobody may ask for
   * the notifications before that: Chromium takes one that is still being displayed for dismissed, and lists it never.
   */
  async push(page: Page, payload: object | string): Promise<void> {
    const session: CDPSession = await this.context.newCDPSession(page);
    const registration = new Promise<string>((resolve) => {
      session.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
        const found = registrations.find(({ scopeURL }) => scopeURL.endsWith("/phone"));
        if (found) resolve(found.registrationId);
      });
    });
    await session.send("ServiceWorker.enable");
    const before = await this.#displayed();
    const data = typeof payload === "string" ? payload : JSON.stringify(payload);
    await session.send("ServiceWorker.deliverPushMessage", {
      origin: this.url,
      registrationId: await registration,
      data,
    });
    while ((await this.#displayed()) === before) await sleep(20);
    await session.detach();
  }

  /**
   * How many notifications the service worker has displayed since the first call. From then on they stay until
   * somebody closes them: Chromium dismisses others after 25 s.
   */
  async #displayed(): Promise<number> {
    return (await this.worker()).evaluate(() => {
      // biome-ignore lint/suspicious/noExplicitAny: the worker's scope has no type here
      const scope = globalThis as any;
      if (scope.displayed === undefined) {
        scope.displayed = 0;
        const show = scope.registration.showNotification.bind(scope.registration);
        scope.registration.showNotification = async (title: string, options: object) => {
          await show(title, { ...options, requireInteraction: true });
          scope.displayed++;
        };
      }
      return scope.displayed as number;
    });
  }

  /** What the browser shows now. */
  async notifications(): Promise<{ title: string; body: string; tag: string; actions: string[] }[]> {
    return (await this.worker()).evaluate(async () => {
      // biome-ignore lint/suspicious/noExplicitAny: the worker's scope has no type here
      const shown: any[] = await (globalThis as any).registration.getNotifications();
      return shown.map(({ title, body, tag, actions }) => ({
        title,
        body,
        tag,
        actions: actions.map(({ action }: { action: string }) => action),
      }));
    });
  }

  /**
   * A person's tap on a notification, or on one of its buttons; answers the address that it opens.
   * @param tag of the notification; left out: the newest one
   */
  async tap(action: string, tag?: string): Promise<string | undefined> {
    return (await this.worker()).evaluate(
      async ([button, tag]) => {
        // biome-ignore lint/suspicious/noExplicitAny: the worker's scope has no type here
        const scope = globalThis as any;
        let opened: string | undefined;
        scope.openPhone = (address: string) => {
          opened = address;
          return Promise.resolve();
        };
        const notification = (await scope.registration.getNotifications(tag === undefined ? {} : { tag })).at(-1);
        const works: Promise<unknown>[] = [];
        const event = new scope.NotificationEvent("notificationclick", { notification, action: button });
        Object.defineProperty(event, "waitUntil", { value: (work: Promise<unknown>) => works.push(work) });
        scope.dispatchEvent(event);
        await Promise.all(works);
        return opened;
      },
      [action, tag] as const,
    );
  }
}

/** What only Youzan has: its token, specifications, snapshots of one instant, trades that change while being read. */
import { afterEach, describe, expect, it } from "vitest";
import type { PullRequest, SourcePage } from "../../../connectors/source.js";
import type { SourceConfiguration } from "../../../connectors/sources/configuration.js";
import { type OpenedSource, openSource } from "../../../connectors/sources/open-source.js";
import { youzanKind } from "../../../connectors/youzan/kind.js";
import { YOUZAN_SANDBOX, YouzanSandbox, type YouzanSandboxSettings } from "../../../connectors/youzan/sandbox.js";
import { HOUR_MS, type Scheduler, sleep, systemClock } from "../../../engine/kernel/clock.js";

const quick: Scheduler = { now: () => systemClock.now(), sleep: (ms, signal) => sleep(ms / 100, signal) };

describe("Youzan", () => {
  let sandbox: YouzanSandbox;
  let opened: OpenedSource;
  const never = new AbortController().signal;

  const begin = async (connection: object = {}, settings: YouzanSandboxSettings = {}): Promise<void> => {
    sandbox = new YouzanSandbox(settings);
    await sandbox.start();
    const configuration: SourceConfiguration = {
      ...{ name: "shop", about: "", kind: youzanKind, measure: "display", pulls: {}, location: "main" },
      ...{ locations: new Map(), otherLocations: "same", units: undefined },
      ...{ perSecond: 500, timeoutMs: 5_000, retries: 2, freshnessMs: 1, folder: "/" },
      settings: { url: sandbox.url, ...YOUZAN_SANDBOX, ...connection },
    };
    opened = await openSource(configuration, { zone: "Europe/Berlin", secrets: [] }, quick);
  };
  afterEach(async () => {
    await opened.close();
    await sandbox.stop();
  });

  const pagesOf = async (request: PullRequest): Promise<SourcePage[]> => {
    const pages: SourcePage[] = [];
    for await (const page of opened.source.pull(request, never)) pages.push(page);
    return pages;
  };
  const snapshot = async () => {
    const pages = await pagesOf({ kind: "snapshot" });
    return Object.fromEntries(
      pages.flatMap(({ rows }) => rows.map(({ fields }) => [fields["code"], fields["quantity"]])),
    );
  };

  it("gives stock by specification, and names item and specification as the place", async () => {
    await begin({}, { specifications: 2 });
    for (const sku of ["RED", "BLUE", "HAT"]) sandbox.stock.set(sku, "shop", sku.length);
    const [page] = await pagesOf({ kind: "snapshot" });
    expect(page?.rows.map(({ fields, place }) => [place, fields["code"], fields["quantity"]])).toEqual([
      ["shop item 1001 specification 50001", "RED", 3],
      ["shop item 1001 specification 50002", "BLUE", 4],
      ["shop item 1002 specification 50003", "HAT", 3],
    ]);
    expect(page?.totalRows).toBe(3);
  });

  it("asks for a token once, and again shortly before it expires", async () => {
    await begin({ specifications: false }, { tokenMs: HOUR_MS });
    sandbox.stock.set("A", "shop", 1);
    await snapshot();
    await snapshot();
    expect(sandbox.issued).toBe(1);
    await opened.close();
    await sandbox.stop();
    // Four minutes are fewer than the five before its end at which a token is renewed.
    await begin({ specifications: false }, { tokenMs: 4 * 60_000 });
    await snapshot();
    expect(sandbox.issued).toBeGreaterThan(1);
  });

  it("asks for a new token when a call is refused because of it, and shows none", async () => {
    await begin({ specifications: false });
    sandbox.stock.set("A", "shop", 1);
    await snapshot();
    sandbox.endTokens();
    expect(await snapshot()).toEqual({ A: 1 });
    expect(sandbox.issued).toBe(2);
  });

  it("gives up when a new token is refused, too", async () => {
    await begin({}, { before: () => {}, tokenMs: -HOUR_MS });
    const error = await snapshot().then(
      () => undefined,
      (thrown: unknown) => thrown as Error,
    );
    expect(error).toMatchObject({ retryable: false });
    expect(error?.message).toContain("4203");
    expect(error?.message).not.toContain("sandbox-token");
    expect(sandbox.issued).toBe(2);
  });

  it("reads again what was sold while items were read one by one", async () => {
    let asked = 0;
    const before = (method: string) => {
      // The first item is sold after it was read, when all the others are still to be read.
      if (method === "youzan.item.get" && ++asked === 10)
        sandbox.stock.move({ id: "sold", sku: "SKU-0", location: "shop", units: -4 });
    };
    await begin({ pageRows: 10 }, { before, specifications: 2 });
    for (let i = 0; i < 40; i++) sandbox.stock.set(`SKU-${i}`, "shop", 10);
    const read = await snapshot();
    expect(read["SKU-0"]).toBe(6);
    expect(Object.keys(read).length).toBe(40);
    // 20 items, and the one that had changed.
    expect(asked).toBe(21);
  });

  it("gives no snapshot of a shop that changes faster than it can be read", async () => {
    let sold = 0;
    const before = (method: string) => {
      if (method !== "youzan.item.get") return;
      sold++;
      for (let i = 0; i < 40; i++)
        sandbox.stock.move({ id: `sold-${sold}-${i}`, sku: `SKU-${i}`, location: "shop", units: -1 });
    };
    await begin({ pageRows: 100 }, { before, specifications: 2 });
    for (let i = 0; i < 40; i++) sandbox.stock.set(`SKU-${i}`, "shop", 100_000);
    await expect(snapshot()).rejects.toMatchObject({ retryable: true, message: /change faster/ });
  });

  it("gives no snapshot when a page of items comes twice, and one when it does not", async () => {
    await begin({ specifications: false, pageRows: 2 });
    for (const sku of ["A", "B", "C", "D", "E"]) sandbox.stock.set(sku, "shop", 1);
    sandbox.repeatPages(1);
    await expect(snapshot()).rejects.toMatchObject({ retryable: true, message: /4 items|3 items/ });
    expect(Object.keys(await snapshot()).sort()).toEqual(["A", "B", "C", "D", "E"]);
  });

  it("gives an item without a code, unless such items are to be ignored", async () => {
    await begin({ specifications: false });
    sandbox.stock.set("A", "shop", 1);
    sandbox.stock.set("", "shop", 1);
    const codes = async () =>
      (await pagesOf({ kind: "snapshot" })).flatMap(({ rows }) => rows.map(({ fields }) => fields["code"]));
    expect(await codes()).toEqual(["A", undefined]);
    await opened.close();
    await sandbox.stop();
    await begin({ specifications: false, withoutCode: "ignore" });
    sandbox.stock.set("A", "shop", 1);
    sandbox.stock.set("", "shop", 1);
    expect(await codes()).toEqual(["A"]);
  });

  it("gives an empty shop as a snapshot without rows", async () => {
    await begin();
    expect(await pagesOf({ kind: "snapshot" })).toMatchObject([{ rows: [], totalRows: 0 }]);
  });

  describe("paid trades", () => {
    const nowMs = Math.floor(systemClock.now() / 1_000) * 1_000;
    const span = { kind: "movements", fromMs: nowMs - HOUR_MS, toMs: nowMs - 60_000 } as const;
    const sell = (id: string, agoMs: number) =>
      sandbox.stock.move({ id, sku: "A", location: "shop", units: -1, atMs: nowMs - agoMs });
    const idsOf = (pages: readonly SourcePage[]) =>
      pages.flatMap(({ rows }) => rows.map(({ fields }) => String(fields["oid"]))).sort();

    it("of the span are given although they changed after it", async () => {
      await begin();
      sell("before", 2 * HOUR_MS);
      sell("within", HOUR_MS / 2);
      sell("after", 30_000);
      for (const id of ["before", "within"]) sandbox.change(id);
      expect(idsOf(await pagesOf(span))).toEqual(["within"]);
    });

    it.each([
      { order: "oldest first", newestFirst: false },
      { order: "newest first", newestFirst: true },
    ])("are all given, each once, when some change while pages are read, $order", async ({ newestFirst }) => {
      let pages = 0;
      const before = (method: string) => {
        if (method !== "youzan.trades.sold.get") return;
        // Shipped while they are read: they leave the window, and the others move to earlier pages.
        const shipped = { 3: ["t00", "t10"], 4: ["t19", "t05"] }[++pages] ?? [];
        for (const id of shipped) sandbox.change(id);
      };
      await begin({ pageRows: 4 }, { before, newestFirst });
      const ids = Array.from({ length: 20 }, (_, i) => `t${String(i).padStart(2, "0")}`);
      for (const [i, id] of ids.entries()) sell(id, HOUR_MS / 2 - i * 1_000);
      expect(idsOf(await pagesOf(span))).toEqual(ids);
    });

    it("are read in parts when there are more than Youzan's pages have", async () => {
      await begin({ pageRows: 1 });
      const ids = Array.from({ length: 250 }, (_, i) => `t${String(i).padStart(3, "0")}`);
      for (const [i, id] of ids.entries()) sell(id, HOUR_MS / 2 - i * 2_000);
      expect(idsOf(await pagesOf(span))).toEqual(ids);
    });
  });
});

/** What only Wangdian has: its signature, its clock, its pages, and acknowledgement of what was stored. */
import { afterEach, describe, expect, it } from "vitest";
import type { PullRequest, SourcePage } from "../../../connectors/source.js";
import type { SourceConfiguration } from "../../../connectors/sources/configuration.js";
import { type OpenedSource, openSource } from "../../../connectors/sources/open-source.js";
import { wangdianKind } from "../../../connectors/wangdian/kind.js";
import {
  WANGDIAN_SANDBOX,
  WangdianSandbox,
  type WangdianSandboxSettings,
} from "../../../connectors/wangdian/sandbox.js";
import { signatureOf } from "../../../connectors/wangdian/signature.js";
import { DAY_MS, systemClock } from "../../../engine/kernel/clock.js";

describe("the signature", () => {
  const PARAMETERS = {
    ...{ sid: "test2", appkey: "test2-xx", page_no: "0", page_size: "40", timestamp: "1470042310" },
    ...{ start_time: "2016-08-01 12:00:00", end_time: "2016-08-01 13:00:00" },
  };

  it("is the MD5 of all parameters by name, each with its lengths, and the secret", () => {
    expect(signatureOf(PARAMETERS, "12345", "characters")).toBe("ad4e6fe037ea6e3ba4768317be9d1309");
    expect(signatureOf({ ...PARAMETERS, sign: "x" }, "12345", "bytes")).toBe("ad4e6fe037ea6e3ba4768317be9d1309");
  });

  it("counts characters or bytes, which differ in Chinese texts only", () => {
    const chinese = { ...PARAMETERS, remark: "雨伞" };
    expect(signatureOf(chinese, "12345", "characters")).not.toBe(signatureOf(chinese, "12345", "bytes"));
  });
});

describe("Wangdian", () => {
  let sandbox: WangdianSandbox;
  let opened: OpenedSource;
  const never = new AbortController().signal;

  const begin = async (connection: object, settings: WangdianSandboxSettings = {}): Promise<void> => {
    sandbox = new WangdianSandbox(settings);
    await sandbox.start();
    const configuration: SourceConfiguration = {
      ...{ name: "wms", about: "", kind: wangdianKind, measure: "on_hand", pulls: {}, location: undefined },
      ...{ locations: new Map(), otherLocations: "same", units: undefined },
      ...{ perSecond: 500, timeoutMs: 5_000, retries: 0, freshnessMs: 1, folder: "/" },
      settings: { url: sandbox.url, ...WANGDIAN_SANDBOX, ...connection },
    };
    opened = await openSource(configuration, { zone: "Europe/Berlin", secrets: [] });
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
  const skusOf = (pages: readonly SourcePage[]) =>
    pages.flatMap(({ rows }) => rows.map(({ fields }) => fields["spec_no"]));

  it("gives warehouse stock since the cursor, and a new cursor only after all pages of a span", async () => {
    await begin({ stock: "warehouse", firstDays: 40, pageRows: 2 });
    for (const sku of ["A", "B", "C"]) sandbox.stock.set(sku, "WH", 1);
    const pages = await pagesOf({ kind: "snapshot" });
    expect(skusOf(pages)).toEqual(["C", "A", "B"]);
    // 40 days are two spans.
    expect(pages.map(({ cursor }) => cursor !== undefined)).toEqual([true, false, false, true]);
    const cursor = String(systemClock.now() + 120_000);
    expect(skusOf(await pagesOf({ kind: "snapshot", cursor }))).toEqual([]);
  });

  it.each(["leaves", "comes"])("passes over no cell when one %s while pages are read", async (how) => {
    let aheadMs = 0;
    const now = () => systemClock.now() + aheadMs;
    await begin({ stock: "warehouse", firstDays: 1, pageRows: 2 }, { clock: { now } });
    const skus = ["A", "B", "C", "D", "E"];
    for (const sku of skus) sandbox.stock.set(sku, "WH", 1);
    const pages: SourcePage[] = [];
    for await (const page of opened.source.pull({ kind: "snapshot" }, never)) {
      pages.push(page);
      if (pages.length > 1) continue;
      // After the span has ended, or before.
      aheadMs = how === "leaves" ? 30_000 : -30_000;
      sandbox.stock.set(how === "leaves" ? "A" : "F", "WH", 2);
    }
    expect(skusOf(pages)).toEqual(expect.arrayContaining(how === "leaves" ? skus.slice(1) : [...skus, "F"]));
  });

  it("reads everything again after a cursor ahead of the time", async () => {
    await begin({ stock: "warehouse", firstDays: 1 });
    sandbox.stock.set("A", "WH", 1);
    const cursor = String(systemClock.now() + DAY_MS);
    expect(skusOf(await pagesOf({ kind: "snapshot", cursor }))).toEqual(["A"]);
  });

  it("begins nowhere in a span whose second page fails", async () => {
    await begin({ stock: "warehouse", firstDays: 1, pageRows: 2 });
    for (const sku of ["A", "B", "C"]) sandbox.stock.set(sku, "WH", 1);
    sandbox.fail("fail", 1, 1);
    const pages: SourcePage[] = [];
    const pull = async () => {
      for await (const page of opened.source.pull({ kind: "snapshot" }, never)) pages.push(page);
    };
    await expect(pull()).rejects.toMatchObject({ retryable: true });
    expect(pages.every(({ cursor }) => cursor === undefined)).toBe(true);
  });

  it("gives a change until it is acknowledged with what was given", async () => {
    await begin({ stock: "shop", shop: "own" });
    sandbox.stock.set("A", "x", 5);
    for await (const page of opened.source.pull({ kind: "snapshot" }, never)) {
      // It changes between the answer and the acknowledgement: the newer value comes again.
      sandbox.stock.set("A", "x", 4);
      await page.acknowledge?.(never);
      break;
    }
    expect(sandbox.waiting).toBe(1);
    const [page] = await pagesOf({ kind: "snapshot" });
    expect(page?.rows[0]?.fields).toMatchObject({ spec_no: "A", stock_num: 4 });
    expect(sandbox.waiting).toBe(1);
  });

  it("follows Wangdian's clock after the first answer", async () => {
    // The sandbox's HTTP date is the machine's: only its check of timestamps is off.
    await begin({ stock: "shop", shop: "own" }, { clock: { now: () => systemClock.now() + 600_000 } });
    await expect(pagesOf({ kind: "snapshot" })).rejects.toMatchObject({ message: expect.stringContaining("时间戳") });
  });

  it("gives shipped lines with their own time, whatever the shop's zone is", async () => {
    await begin({ stock: "warehouse" });
    const atMs = Math.floor(systemClock.now() / 1_000) * 1_000 - DAY_MS;
    sandbox.stock.move({ id: "CK1", sku: "A", location: "WH", units: -3, atMs });
    sandbox.stock.move({ id: "IN1", sku: "A", location: "WH", units: 9, atMs });
    const pages = await pagesOf({ kind: "movements", fromMs: atMs - 1_000, toMs: atMs + 1 });
    expect(pages.flatMap(({ rows }) => rows.map(({ fields }) => fields))).toEqual([
      expect.objectContaining({
        units: -3,
        consign_time: new Date(atMs).toISOString(),
        warehouse_no: "WH",
        id: "CK1-1",
      }),
    ]);
  });

  it.each([
    [{ stock: "shop" }, /needs the number of the shop/],
    [{ stock: "warehouse", shop: "own" }, /is allowed only with "stock": "shop"/],
  ])("refuses a connection that does not fit: %j", async (connection, message) => {
    await begin({ stock: "warehouse" });
    const settings = { url: sandbox.url, ...WANGDIAN_SANDBOX, ...connection };
    await expect(wangdianKind.open(settings as never, {} as never)).rejects.toThrow(message);
  });
});

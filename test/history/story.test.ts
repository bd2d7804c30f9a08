/** Stories: sentences in both languages, and what they say about changes that do not add up. */
import { describe, expect, it } from "vitest";
import { type Change, lineOf, RunningBalances } from "../../engine/history/changes.js";
import { DICTIONARY, type Language } from "../../engine/history/dictionary.js";
import type { OrderHistoryFound } from "../../engine/history/order-history.js";
import type { SkuSpan } from "../../engine/history/sku-history.js";
import { localTime, orderStory, skuStory, storyText } from "../../engine/history/story.js";
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { EVENT_TYPES, emptyBalances, type StockEvent } from "../../engine/stock/model.js";

const AT_MS = Date.UTC(2026, 5, 18, 12);
const ORDER = chainIdFromNumber("WB", AT_MS, 618);
const ZH = { language: "zh", zone: "Asia/Shanghai" } as const;
const EN = { language: "en", zone: "Asia/Shanghai" } as const;

let offset = 0;
const event = (given: Partial<StockEvent>): StockEvent => ({
  ...{ type: "StockReceived", offset: ++offset, index: 0, id: `${ORDER}-1`, sku: "TEA", location: "SH", units: 1 },
  ...{ from: "outside", to: "outside", atMs: AT_MS, clockMs: AT_MS },
  ...given,
});

function spanOf(events: readonly StockEvent[], given: Partial<SkuSpan> = {}): SkuSpan {
  const opening = new Map([["SH", { ...emptyBalances(), sellable: 10 }]]);
  const running = new RunningBalances(opening);
  const changes = events.map((each): Change => {
    const line = lineOf(each);
    return { event: each, after: running.apply(each), ...(line && { line }) };
  });
  return {
    ...{ outcome: "found", sku: "TEA", fromMs: AT_MS - 1_000, toMs: AT_MS + 1_000, isFinal: true, partition: 0 },
    ...{ opening, changes, closing: running.locations, next: undefined, isComplete: true, mismatches: [] },
    ...given,
  };
}

const placeholders = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? "").sort();

describe("the dictionary", () => {
  it("has the same placeholders in both languages", () => {
    for (const [key, { zh, en }] of Object.entries(DICTIONARY)) expect(placeholders(zh), key).toEqual(placeholders(en));
  });
});

describe("the story of a SKU", () => {
  it("names the snapshot that a correction follows", () => {
    const settlement = { comparison: "c", source: "wms", snapshot: "s-7", proposal: "p", asOfMs: AT_MS - 60_000 };
    const detail = { actor: "li.wei", reason: "recounted", settlement };
    const span = spanOf([event({ type: "StockCorrected", units: 2, from: "sellable", detail })]);
    expect([skuStory(span, EN), skuStory(span, ZH)].map(({ changes }) => changes[0]?.text)).toEqual([
      "correction at SH: 2 fewer in sellable stock, to agree with the snapshot s-7 of wms; by li.wei; reason: recounted",
      "SH 更正：可售库存少了 2 件，按 wms 的快照 s-7；操作：li.wei；原因：recounted",
    ]);
  });

  it("states the beginning, each change with who did it and why, and the end", () => {
    const span = spanOf([
      event({ units: 5, to: "sellable", detail: { actor: "li.wei", onBehalfOf: "wang", reason: "PO 7" } }),
      event({ type: "StockReserved", units: 2, from: "sellable", to: "reserved" }),
      event({ type: "StockMoved", units: 3, from: "sellable", to: "sellable", toLocation: "GZ", atMs: AT_MS - 60_000 }),
    ]);
    const story = skuStory(span, EN);
    expect(story.title).toBe("TEA: its stock from 2026-06-18 19:59:59 to 2026-06-18 20:00:01");
    expect(story.before.at(1)).toBe("SH: 10 on hand (10 sellable, 0 reserved, 0 paid for, 0 safety stock)");
    expect(story.changes.map(({ text }) => text)).toEqual([
      "5 received at SH into sellable stock; by li.wei for wang; reason: PO 7",
      `order ${ORDER}, line 1, reserved 2 at SH`,
      "3 moved from SH to GZ (it happened at 2026-06-18 19:59:00)",
    ]);
    expect(story.after).toEqual([
      "At the end (2026-06-18 20:00:01)",
      "SH: 12 on hand (10 sellable, 2 reserved, 0 paid for, 0 safety stock)",
      "GZ: 3 on hand (3 sellable, 0 reserved, 0 paid for, 0 safety stock)",
    ]);
    expect(story.remarks).toEqual(["Checked: the beginning and these changes make the end, to the unit."]);
    expect(skuStory(span, ZH).changes[0]?.text).toBe("SH 收货 5 件，计入可售库存；操作：li.wei，代 wang；原因：PO 7");
  });

  it("names whoever reported the step of the order that caused a change", () => {
    const span = spanOf([event({ type: "LinePaid", units: 2, from: "reserved", to: "committed" })]);
    const [change] = span.changes as [Change];
    const evidence = { source: "shop", detail: { actor: "web" } };
    const story = skuStory({ ...span, changes: [{ ...change, evidence }] }, EN);
    expect(story.changes[0]?.text).toContain("; reported by shop (web)");
  });

  it("names what does not add up: missing units, unexplained goods, balances below zero and a wrong end", () => {
    const span = spanOf(
      [
        event({ type: "LineOutbound", units: 4, detail: { missingUnits: 4, unexplained: true } }),
        event({ type: "LineOutbound", units: 1, from: "sellable", detail: { unexplained: true } }),
        event({ type: "StockCorrected", units: 30, from: "sellable" }),
      ],
      { isComplete: false, mismatches: [{ location: "SH", pool: "sellable", countedUnits: -21, storedUnits: 9 }] },
    );
    const { remarks } = skuStory(span, EN);
    expect(remarks[0]).toBe("What does not add up:");
    expect(remarks.join("\n")).toContain("4 of them were in no balance");
    expect(remarks.join("\n")).toContain("were not where the books had them");
    expect(remarks.join("\n")).toContain("sellable stock at SH became -21: below zero");
    expect(remarks.at(-1)).toBe("sellable stock at SH: the changes make -21, the ledger has 9");
  });

  it("states when there is more, when more may follow, and when nothing changed", () => {
    expect(skuStory(spanOf([], { next: "1-1-0", isComplete: false }), EN).remarks).toContain(
      "More changes follow that are not listed here.",
    );
    const open = skuStory(spanOf([], { isFinal: false }), EN);
    expect(open.remarks).toContain("The end has not passed yet: more changes may follow.");
    expect(open.remarks).toContain("Nothing changed in this time.");
    expect(open.after[0]).toMatch(/^So far/);
    const missing = { what: "ordersLogBegins", atMs: AT_MS } as const;
    expect(skuStory(spanOf([]), ZH, [missing, missing]).remarks.slice(1)).toEqual([
      "已核对：期初加上所列变化等于期末，一件不差。",
      "不完整：订单日志始于 2026-06-18 20:00:00",
    ]);
  });

  it("has a sentence without a hole for every type of event, in both languages", () => {
    for (const language of ["zh", "en"] as Language[])
      for (const type of Object.values(EVENT_TYPES)) {
        const accounts = [
          { from: "outside", to: "sellable" },
          { from: "presale", to: "outside" },
          { from: "committed", to: "outside" },
          { from: "outside", to: "presale" },
        ] as const;
        const changes = accounts.map((each) => event({ type, units: 2, ...each }));
        for (const { text } of skuStory(spanOf(changes), { ...EN, language }).changes)
          expect(text, type).not.toMatch(/undefined|\{|\}/);
      }
  });
});

describe("the story of an order", () => {
  const history: OrderHistoryFound = {
    outcome: "found",
    id: ORDER,
    lines: [{ sku: "TEA", location: "SH", units: 2 }],
    steps: [
      {
        ...{ offset: 1, index: 0, atMs: AT_MS, clockMs: AT_MS, id: ORDER, step: "created", createdMs: AT_MS },
        ...{ source: "shop", detail: { actor: "web" } },
      },
    ],
    changes: [event({ type: "StockReserved", units: 2, from: "sellable", to: "reserved", clockMs: AT_MS + 5 })],
    isComplete: false,
    reasons: [{ what: "stepsInPart" }],
  };

  it("states its steps with their evidence, its stock, its open exceptions, and what is missing", () => {
    const story = orderStory(history, [{ step: "labelled", kind: "late", sinceMs: AT_MS }], EN);
    expect(storyText(story)).toBe(
      [
        `Order ${ORDER}, step by step`,
        "",
        "What was ordered",
        "  line 1: 2 of TEA at SH",
        "",
        "  2026-06-18 20:00:00  placed; reported by shop (web)",
        `  2026-06-18 20:00:00  TEA · order ${ORDER}, line 1, reserved 2 at SH`,
        "",
        "Open exceptions:",
        "label printed: late, was due at 2026-06-18 20:00:00",
        "Not complete: the log has the order's steps only in part",
        "",
      ].join("\n"),
    );
    expect(orderStory({ ...history, reasons: [], isComplete: true }, [], EN).remarks).toEqual(["Everything adds up."]);
    expect(orderStory(history, [], ZH).title).toBe(`订单 ${ORDER} 的经过`);
  });
});

it("times are those of the shop's zone", () => {
  expect(localTime(AT_MS, "Asia/Shanghai")).toBe("2026-06-18 20:00:00");
  expect(localTime(AT_MS, "America/New_York")).toBe("2026-06-18 08:00:00");
});

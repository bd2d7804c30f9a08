/**
 * The texts of messages: each rule explains itself in both languages, what comes from outside can do no harm, and what
 * is too long is cut where a line ends.
 */
import { describe, expect, it } from "vitest";
import type { Alert } from "../../engine/alerting/alert.js";
import { TEXTS, translatorOf } from "../../engine/alerting/dictionary.js";
import type { Message } from "../../engine/alerting/notification.js";
import { ALERT_RULES, type AlertRuleName } from "../../engine/alerting/rules.js";
import { safeText } from "../../engine/alerting/safe-text.js";
import { linesOf, markdownOf, titleOf } from "../../engine/alerting/texts.js";
import { EXCEPTION_KINDS } from "../../engine/orders/flow.js";
import { ORDER_STEPS } from "../../engine/orders/model.js";

const FIRED_MS = Date.UTC(2026, 10, 30, 8);

const depletion: Alert = {
  id: "SKU-1#1",
  rule: "depletion",
  subject: "SKU-1",
  severity: "warning",
  state: "fired",
  firedMs: FIRED_MS,
  figures: { hourUnits: 128, dailyAverage: 30, thresholdUnits: 90 },
  outlook: { sellableUnits: 45, safetyUnits: 20, inboundUnits: 10, minutesLeft: 21.1, suggestedUnits: 71 },
  category: "shoes",
  locations: ["SH-1", "BJ-1"],
};

const alertOf = (rule: AlertRuleName, subject: string, figures: Alert["figures"]): Alert => ({
  ...{ id: `${rule}~${subject}#1`, rule, subject, severity: ALERT_RULES[rule].severity, state: "fired" },
  ...{ firedMs: FIRED_MS, figures },
});

const messageOf = (alerts: readonly Alert[], changed: Partial<Message> = {}): Message => ({
  ...{ id: "person:li/1", type: alerts.length > 1 ? "summary" : "alert", alerts, total: alerts.length, language: "zh" },
  ...changed,
});

const whole = (message: Message): readonly string[] => [titleOf(message), ...linesOf(message)];

describe("a depletion alert explains itself", () => {
  it("in Chinese", () => {
    expect(whole(messageOf([depletion]))).toEqual([
      "【消耗告警】SKU-1：近一小时 128 件",
      "近一小时 128 件，日均 30 件，告警阈值 90 件",
      "为日均的 4.3 倍",
      "可售 45 件，按当前速度约 21 分钟后售罄",
      "安全库存 20 件，在途 10 件",
      "建议采购 71 件",
      "类目：shoes",
      "仓库：SH-1、BJ-1",
    ]);
  });

  it("in English", () => {
    expect(whole(messageOf([depletion], { language: "en" }))).toEqual([
      "Depletion alert: SKU-1, 128 units in the last hour",
      "Last hour 128 units, daily average 30 units, alert above 90 units",
      "4.3 times the daily average",
      "45 units sellable: sold out in about 21 min at this pace",
      "Safety stock 20 units, on the way 10 units",
      "Suggested purchase: 71 units",
      "Category: shoes",
      "Locations: SH-1, BJ-1",
    ]);
  });

  it("without an average, without sales, without stock", () => {
    const cold = { ...depletion, figures: { hourUnits: 120, dailyAverage: null, thresholdUnits: 100 } };
    const outlook = { sellableUnits: 0, safetyUnits: 0, inboundUnits: 0, minutesLeft: 0, suggestedUnits: null };
    const lines = linesOf(messageOf([{ ...cold, outlook }]));
    expect(lines[0]).toBe("近一小时 120 件，尚无日均（新品），告警阈值 100 件");
    expect(lines).toContain("可售 0 件，已售罄");
    expect(lines).toContain("尚无日均，暂无采购建议");
    const idle = { ...outlook, sellableUnits: 5, minutesLeft: null, suggestedUnits: 0 };
    expect(linesOf(messageOf([{ ...cold, outlook: idle }]))).toEqual(
      expect.arrayContaining(["可售 5 件，近一小时没有消耗", "暂不需要采购"]),
    );
    expect(linesOf(messageOf([{ ...depletion, figures: {} }]))[0]).toBe("近一小时 0 件");
  });
});

it("every rule has a title in both languages", () => {
  const alerts: Record<AlertRuleName, Alert> = {
    depletion,
    breaker: alertOf("breaker", "shop", {
      reason: "erp and ledger differ",
      untilMs: FIRED_MS + 600_000,
      divergence: 0.0123,
    }),
    order_exceptions: alertOf("order_exceptions", "waybill/late", { value: 12, limit: 10 }),
    receiver_circuit: alertOf("receiver_circuit", "wms", { value: 90, limit: 60, reason: "503" }),
    jobs_behind: alertOf("jobs_behind", "stock", { value: 35, limit: 20 }),
    dead_letters: alertOf("dead_letters", "orders", { value: 3, limit: 0 }),
    redis_full: alertOf("redis_full", "redis", { value: 0.86, limit: 0.85 }),
  };
  const texts = (language: "zh" | "en") =>
    Object.values(alerts).map((alert) => whole(messageOf([alert], { language })).join(" | "));
  expect(texts("zh").slice(1)).toEqual([
    "【熔断】全店停止接新单 | 库存差异率 1.23% | 10 分钟后自动重新核对库存 | 原因：erp and ledger differ",
    "【订单异常】获取运单号超时：12 单",
    "【投递中断】wms 无法接收，已暂停投递 | 已持续 2 分钟 | 原因：503",
    "【处理滞后】stock 落后 35 秒 | 超过 20 秒会影响接单和看板",
    "【死信】orders 有 3 条待处理 | 用 dead-letters 命令查看并重放",
    "【内存不足】Redis 已用 86% | 达到 85% 时将拒绝新订单",
  ]);
  expect(texts("en").slice(1)).toEqual([
    "Breaker open: no new orders for the whole shop | Stock differs by 1.23% | Stock is compared again after 10 min | Reason: erp and ledger differ",
    "Orders late at “waybill number”: 12",
    "Deliveries stopped: wms does not accept them | For 2 min | Reason: 503",
    "Processing is behind: stock, by 35 s | Beyond 20 s orders and screens are affected",
    "Dead letters: 3 in orders | List and replay them with the command dead-letters",
    "Redis is nearly full: 86% used | At 85% new orders are refused",
  ]);
});

it("names the scope of a breaker, and that it ends by hand only", () => {
  const titles = ["location:SH-1", "sku:A:B"].map((scope) => titleOf(messageOf([alertOf("breaker", scope, {})])));
  expect(titles).toEqual(["【熔断】仓库 SH-1 停止接新单", "【熔断】A:B 停止接新单"]);
  const byHand = alertOf("breaker", "shop", { actor: "wang", untilMs: 0 });
  expect(linesOf(messageOf([byHand]))).toEqual(["直到人工解除", "操作：wang"]);
});

it("names every step and kind of an order's exceptions", () => {
  for (const step of ORDER_STEPS)
    for (const kind of EXCEPTION_KINDS) {
      const title = titleOf(messageOf([alertOf("order_exceptions", `${step}/${kind}`, { value: 1, limit: 1 })]));
      expect(title).not.toContain(kind);
      expect(title).not.toContain(step);
    }
  expect(titleOf(messageOf([alertOf("order_exceptions", "new/kind", { value: 1 })]))).toContain("new/kind");
});

describe("several alerts", () => {
  it("are listed by their titles, and those that are left out are counted", () => {
    const alerts = [alertOf("redis_full", "redis", { value: 0.9 }), depletion];
    expect(whole(messageOf(alerts, { total: 30 }))).toEqual([
      "30 条新告警",
      "【内存不足】Redis 已用 90%",
      "【消耗告警】SKU-1：近一小时 128 件",
      "… 另有 28 条",
    ]);
    expect(titleOf(messageOf([depletion, depletion], { language: "en" }))).toBe("2 new alerts");
    expect(titleOf(messageOf(alerts.slice(0, 1), { type: "summary", total: 3 }))).toBe("3 条严重告警");
  });

  it("change and repeat say so", () => {
    const acknowledged = { ...depletion, state: "acknowledged", acknowledgedBy: "wang/iPhone" } as const;
    const cleared = { ...depletion, state: "cleared", clearedMs: FIRED_MS + 720_000 } as const;
    expect(whole(messageOf([acknowledged], { type: "change" }))).toEqual([
      "已确认 · 【消耗告警】SKU-1：近一小时 128 件",
      "wang/iPhone 已确认",
    ]);
    expect(whole(messageOf([cleared], { type: "change" }))).toEqual([
      "已解除 · 【消耗告警】SKU-1：近一小时 128 件",
      "历时 12 分钟",
    ]);
    expect(titleOf(messageOf([cleared, acknowledged], { type: "change" }))).toBe("2 条告警已确认或解除");
    expect(titleOf(messageOf([depletion], { type: "repeat", language: "en" }))).toMatch(/^Still open · /);
    expect(titleOf(messageOf([depletion, depletion], { type: "repeat" }))).toBe("2 条告警仍未解除");
  });
});

it("a test message asks for nothing", () => {
  expect(whole(messageOf([], { type: "test", language: "en" }))).toEqual([
    "Shuiwei · test message",
    "This channel works. No action is needed.",
  ]);
});

describe("what comes from outside", () => {
  it("mentions nobody, is no link, no tag and no line of its own", () => {
    const hostile = [
      "@all",
      "<@all>",
      '<at user_id="all">all</at>',
      "[free](https://evil.example/x)",
      "evil.com",
      "x\n- **fake**: `y`",
      "![i](x)",
      "&lt;at&gt;",
      "\u202egnp.exe\u0000\u2028",
    ];
    for (const subject of hostile) {
      const alert = { ...depletion, subject, category: subject, locations: [subject] };
      const text = markdownOf(messageOf([alert, alert]), { maxBytes: 4_000 });
      const all = [text, ...whole(messageOf([alert]))];
      for (const each of all) {
        expect(each.replaceAll("**2 条新告警**", "")).not.toMatch(/[@<>[\]*`\\&]|:\/\/|\.com|\.example|\p{Cf}|\u2028/u);
      }
      expect(text.split("\n")).toHaveLength(4);
    }
  });

  it("keeps ordinary names, and cuts long ones between characters", () => {
    expect(safeText("SKU_1-2.5 (红色) #3")).toBe("SKU_1-2.5 (红色) #3");
    expect(safeText("😀".repeat(100), 10)).toBe(`${"😀".repeat(9)}…`);
    expect(safeText(`${"a".repeat(3)}\ud83d`, 10)).toBe("aaa");
  });
});

describe("Markdown", () => {
  const alerts = Array.from({ length: 20 }, (_, i) => ({ ...depletion, subject: `库存-${i}` }));

  it("is a bold line and a list", () => {
    expect(markdownOf(messageOf([depletion], { type: "test", alerts: [] }), { maxBytes: 500 })).toBe(
      "**水位 · 测试消息**\n\n- 收到这条消息，说明此渠道正常。无需处理。",
    );
  });

  it("is cut where a line ends, and states how many alerts are left out", () => {
    for (let maxBytes = 200; maxBytes < 1_600; maxBytes += 7) {
      const text = markdownOf(messageOf(alerts, { total: 50 }), { maxBytes });
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(maxBytes);
      const listed = text.split("\n").filter((line) => line.startsWith("- 【")).length;
      expect(text).toMatch(new RegExp(`- … 另有 ${50 - listed} 条$`));
    }
    expect(markdownOf(messageOf([depletion]), { maxBytes: 200 })).toMatch(/售罄\n- …$/);
    const lines = linesOf(messageOf(alerts, { total: 50 }), { maxBytes: 300 });
    expect(Buffer.byteLength(lines.join("\n"))).toBeLessThanOrEqual(300);
    expect(lines.at(-1)).toMatch(new RegExp(`${51 - lines.length} 条$`));
  });
});

it("both languages have the same placeholders", () => {
  const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();
  for (const [key, { zh, en }] of Object.entries(TEXTS)) {
    expect(zh === "" || en === "", key).toBe(false);
    if (key !== "oneUnit") expect(places(en), key).toEqual(places(zh));
  }
  expect(translatorOf("zh")("stepPaid")).toBe("付款");
});

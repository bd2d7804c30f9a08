/**
 * Every text that the engine writes for people in messages, in Chinese and English side by side. A missing language,
 * an unknown key and a placeholder without a value fail the build. Placeholders are written `{name}`, are the same in
 * both languages, and the types follow the Chinese text. What comes from outside is made safe before it is filled in.
 */
import type { PersonLanguage } from "./people.js";

type Entry = Readonly<Record<PersonLanguage, string>>;

const dictionary = {
  units: { zh: "{number} 件", en: "{number} units" },
  oneUnit: { zh: "1 件", en: "1 unit" },
  seconds: { zh: "{number} 秒", en: "{number} s" },
  minutes: { zh: "{number} 分钟", en: "{number} min" },
  hours: { zh: "{number} 小时", en: "{number} h" },
  days: { zh: "{number} 天", en: "{number} days" },
  percent: { zh: "{number}%", en: "{number}%" },
  listComma: { zh: "、", en: ", " },
  reason: { zh: "原因：{reason}", en: "Reason: {reason}" },
  actor: { zh: "操作：{actor}", en: "By: {actor}" },

  depletion: { zh: "【消耗告警】{sku}：近一小时 {units}", en: "Depletion alert: {sku}, {units} in the last hour" },
  depletionRate: {
    zh: "近一小时 {units}，日均 {average}，告警阈值 {threshold}",
    en: "Last hour {units}, daily average {average}, alert above {threshold}",
  },
  depletionTimes: { zh: "为日均的 {times} 倍", en: "{times} times the daily average" },
  depletionCold: {
    zh: "近一小时 {units}，尚无日均（新品），告警阈值 {threshold}",
    en: "Last hour {units}, no daily average yet (new SKU), alert at {threshold}",
  },
  depletionHour: { zh: "近一小时 {units}", en: "Last hour {units}" },
  stockLeft: {
    zh: "可售 {units}，按当前速度约 {duration}后售罄",
    en: "{units} sellable: sold out in about {duration} at this pace",
  },
  stockIdle: { zh: "可售 {units}，近一小时没有消耗", en: "{units} sellable: none left the stock in the last hour" },
  stockGone: { zh: "可售 0 件，已售罄", en: "Sold out: 0 units sellable" },
  stockPlan: { zh: "安全库存 {safety}，在途 {inbound}", en: "Safety stock {safety}, on the way {inbound}" },
  suggestedUnits: { zh: "建议采购 {units}", en: "Suggested purchase: {units}" },
  suggestedNone: { zh: "暂不需要采购", en: "No purchase needed now" },
  suggestedUnknown: {
    zh: "尚无日均，暂无采购建议",
    en: "No purchase is suggested: there is no daily average yet",
  },
  category: { zh: "类目：{category}", en: "Category: {category}" },
  locations: { zh: "仓库：{locations}", en: "Locations: {locations}" },

  breakerShop: { zh: "【熔断】全店停止接新单", en: "Breaker open: no new orders for the whole shop" },
  breakerLocation: { zh: "【熔断】仓库 {name} 停止接新单", en: "Breaker open: no new orders for location {name}" },
  breakerSku: { zh: "【熔断】{name} 停止接新单", en: "Breaker open: no new orders for {name}" },
  breakerDivergence: { zh: "库存差异率 {share}", en: "Stock differs by {share}" },
  breakerFor: { zh: "{duration}后自动重新核对库存", en: "Stock is compared again after {duration}" },
  breakerNoEnd: { zh: "直到人工解除", en: "Until somebody closes it by hand" },

  exceptionLate: { zh: "【订单异常】{step}超时：{number} 单", en: "Orders late at “{step}”: {number}" },
  exceptionSkipped: { zh: "【订单异常】缺少{step}环节：{number} 单", en: "Orders that skipped “{step}”: {number}" },
  exceptionCancellationRefused: {
    zh: "【订单异常】仓库拒绝取消：{number} 单",
    en: "Cancellations refused by the warehouse: {number} orders",
  },
  exceptionUnexplainedOutbound: {
    zh: "【订单异常】出库件数与库存对不上：{number} 单",
    en: "Outbound units that do not match the stock: {number} orders",
  },
  exceptionMissingUnits: {
    zh: "【订单异常】取消后退回的件数不足：{number} 单",
    en: "Units missing after a cancellation: {number} orders",
  },
  exceptionOther: { zh: "【订单异常】{subject}：{number} 单", en: "Orders with an exception, {subject}: {number}" },
  stepCreated: { zh: "下单", en: "created" },
  stepPaid: { zh: "付款", en: "paid" },
  stepLocked: { zh: "锁定库存", en: "stock locked" },
  stepPicking: { zh: "仓库接单", en: "at the warehouse" },
  stepLabelled: { zh: "打印面单", en: "label printed" },
  stepWaybill: { zh: "获取运单号", en: "waybill number" },
  stepOutbound: { zh: "出库", en: "outbound" },
  stepReported: { zh: "物流上报", en: "reported by the carrier" },
  stepCancelled: { zh: "取消", en: "cancelled" },
  stepCancelling: { zh: "撤单", en: "withdrawal" },
  stepCancellationRefused: { zh: "拒绝取消", en: "cancellation refused" },
  stepPartlyOutbound: { zh: "部分出库", en: "partly outbound" },
  stepCounted: { zh: "盘点", en: "stock count" },

  receiverCircuit: {
    zh: "【投递中断】{subject} 无法接收，已暂停投递",
    en: "Deliveries stopped: {subject} does not accept them",
  },
  receiverFor: { zh: "已持续 {duration}", en: "For {duration}" },
  jobsBehind: { zh: "【处理滞后】{subject} 落后 {duration}", en: "Processing is behind: {subject}, by {duration}" },
  jobsBehindLimit: { zh: "超过 {duration}会影响接单和看板", en: "Beyond {duration} orders and screens are affected" },
  deadLetters: { zh: "【死信】{subject} 有 {number} 条待处理", en: "Dead letters: {number} in {subject}" },
  deadLettersNote: { zh: "用 dead-letters 命令查看并重放", en: "List and replay them with the command dead-letters" },
  redisFull: { zh: "【内存不足】Redis 已用 {share}", en: "Redis is nearly full: {share} used" },
  redisFullNote: { zh: "达到 {share} 时将拒绝新订单", en: "At {share} new orders are refused" },

  stillOpen: { zh: "仍未解除 · {title}", en: "Still open · {title}" },
  acknowledged: { zh: "已确认 · {title}", en: "Acknowledged · {title}" },
  cleared: { zh: "已解除 · {title}", en: "Cleared · {title}" },
  acknowledgedBy: { zh: "{actor} 已确认", en: "Acknowledged by {actor}" },
  clearedAfter: { zh: "历时 {duration}", en: "It lasted {duration}" },
  summaryAlerts: { zh: "{number} 条新告警", en: "{number} new alerts" },
  summaryCritical: { zh: "{number} 条严重告警", en: "{number} critical alerts" },
  summaryChanges: { zh: "{number} 条告警已确认或解除", en: "{number} alerts acknowledged or cleared" },
  summaryRepeats: { zh: "{number} 条告警仍未解除", en: "{number} alerts still open" },
  more: { zh: "… 另有 {number} 条", en: "… and {number} more" },
  openLink: { zh: "查看详情", en: "Open" },
  acknowledgeButton: { zh: "确认", en: "Acknowledge" },
  test: { zh: "水位 · 测试消息", en: "Shuiwei · test message" },
  testNote: { zh: "收到这条消息，说明此渠道正常。无需处理。", en: "This channel works. No action is needed." },
} as const satisfies Record<string, Entry>;

export type TextKey = keyof typeof dictionary;

type Placeholder<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholder<Rest>
  : never;
type Values<Key extends TextKey> = Placeholder<(typeof dictionary)[Key]["zh"]>;

/** Returns a text with its placeholders filled. */
export type Translate = <Key extends TextKey>(
  key: Key,
  ...values: [Values<Key>] extends [never] ? [] : [Readonly<Record<Values<Key>, string>>]
) => string;

export function translatorOf(language: PersonLanguage): Translate {
  return (key, ...[values]) => {
    const text: string = dictionary[key][language];
    if (values === undefined) return text;
    const filled: Readonly<Record<string, string>> = values;
    return text.replace(/\{(\w+)\}/g, (_, name: string) => filled[name] ?? "");
  };
}

/** The dictionary itself, for a test that compares its languages. */
export const TEXTS: Readonly<Record<string, Entry>> = dictionary;

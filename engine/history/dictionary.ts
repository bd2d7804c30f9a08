/**
 * Every sentence of a story, in Chinese and English side by side. Placeholders are written `{name}` and are the same in
 * both languages; types and a test hold that. SKUs, locations, names of people and reasons come from the shop and are
 * shown unchanged.
 */
export const LANGUAGES = ["zh", "en"] as const;
export type Language = (typeof LANGUAGES)[number];

type Entry = Readonly<Record<Language, string>>;

export const DICTIONARY = {
  skuTitle: { zh: "{sku}：{from} 至 {to} 的库存变化", en: "{sku}: its stock from {from} to {to}" },
  skuTitleAt: {
    zh: "{sku}：{from} 至 {to} 的库存变化（仓库 {location}）",
    en: "{sku}: its stock from {from} to {to}, at {location}",
  },
  opening: { zh: "期初（{time}）", en: "At the beginning ({time})" },
  closing: { zh: "期末（{time}）", en: "At the end ({time})" },
  closingNow: { zh: "到目前为止（{time}）", en: "So far ({time})" },
  noLocations: { zh: "没有任何仓库有过库存", en: "no location has held any units" },
  levels: {
    zh: "{location}：在库 {onHand}（可售 {sellable}，预留 {reserved}，已付款 {committed}，安全库存 {safety}）",
    en: "{location}: {onHand} on hand ({sellable} sellable, {reserved} reserved, {committed} paid for, {safety} safety stock)",
  },
  levelsWithPresale: {
    zh: "{location}：在库 {onHand}（可售 {sellable}，预留 {reserved}，已付款 {committed}，安全库存 {safety}），预售额度 {presale}",
    en: "{location}: {onHand} on hand ({sellable} sellable, {reserved} reserved, {committed} paid for, {safety} safety stock), presale counter {presale}",
  },
  noChanges: { zh: "这段时间没有变化。", en: "Nothing changed in this time." },
  moreChanges: { zh: "此后还有更多变化，未列出。", en: "More changes follow that are not listed here." },
  complete: {
    zh: "已核对：期初加上所列变化等于期末，一件不差。",
    en: "Checked: the beginning and these changes make the end, to the unit.",
  },
  notFinal: {
    zh: "截止时刻尚未过完，可能还有变化。",
    en: "The end has not passed yet: more changes may follow.",
  },

  sellable: { zh: "可售", en: "sellable" },
  reserved: { zh: "预留", en: "reserved" },
  committed: { zh: "已付款", en: "paid-for" },
  safety: { zh: "安全", en: "safety" },
  presale: { zh: "预售", en: "presale" },

  received: {
    zh: "{location} 收货 {units} 件，计入{pool}库存",
    en: "{units} received at {location} into {pool} stock",
  },
  returned: {
    zh: "{location} 退货入库 {units} 件，计入{pool}库存",
    en: "{units} returned to {location} into {pool} stock",
  },
  found: {
    zh: "{location} 更正：{pool}库存多出 {units} 件",
    en: "correction at {location}: {units} more in {pool} stock",
  },
  lost: {
    zh: "{location} 更正：{pool}库存少了 {units} 件",
    en: "correction at {location}: {units} fewer in {pool} stock",
  },
  movedPool: {
    zh: "{location} 将 {units} 件从{from}库存转为{to}库存",
    en: "{units} moved from {from} to {to} stock at {location}",
  },
  movedLocation: {
    zh: "{units} 件从 {location} 调往 {toLocation}",
    en: "{units} moved from {location} to {toLocation}",
  },
  reservedLine: {
    zh: "订单 {order} 第 {line} 行在 {location} 预留 {units} 件",
    en: "order {order}, line {line}, reserved {units} at {location}",
  },
  reservedPresale: {
    zh: "订单 {order} 第 {line} 行占用预售额度 {units} 件（{location}）",
    en: "order {order}, line {line}, took {units} from the presale counter at {location}",
  },
  paid: {
    zh: "订单 {order} 第 {line} 行已付款，{location} 的 {units} 件归该订单",
    en: "order {order}, line {line}, was paid: {units} at {location} now belong to it",
  },
  paidAnew: {
    zh: "订单 {order} 第 {line} 行在预留到期后付款，从 {location} 可售库存重新取 {units} 件",
    en: "order {order}, line {line}, was paid after its hold had ended: {units} were taken from sellable stock at {location} again",
  },
  paidPresale: {
    zh: "订单 {order} 第 {line} 行（预售）已付款，{units} 件",
    en: "order {order}, line {line}, a presale of {units}, was paid",
  },
  cancelled: {
    zh: "订单 {order} 第 {line} 行取消，{units} 件回到 {location} {pool}库存",
    en: "order {order}, line {line}, was cancelled: {units} went back to {pool} stock at {location}",
  },
  endedWithNothing: {
    zh: "订单 {order} 第 {line} 行结束，此前已不占用库存",
    en: "order {order}, line {line}, ended; it held nothing any more",
  },
  outbound: {
    zh: "订单 {order} 第 {line} 行出库，{units} 件离开 {location}",
    en: "order {order}, line {line}, was sent: {units} left {location}",
  },
  aborted: {
    zh: "订单 {order} 第 {line} 行未被接受，{units} 件退回 {location} {pool}库存",
    en: "order {order}, line {line}, was not accepted: {units} went back to {pool} stock at {location}",
  },
  unpaid: {
    zh: "订单 {order} 第 {line} 行的付款被撤回，{units} 件退回 {location} {pool}库存",
    en: "the payment of order {order}, line {line}, was undone: {units} went back to {pool} stock at {location}",
  },
  accepted: {
    zh: "订单 {order} 第 {line} 行被接受，{units} 件计入销量",
    en: "order {order}, line {line}, was accepted: {units} count as demand",
  },
  suspended: {
    zh: "订单 {order} 第 {line} 行申请取消，等待仓库答复；{units} 件仍归该订单",
    en: "order {order}, line {line}: cancellation requested, the warehouse is asked; {units} stay with the order",
  },
  resumed: {
    zh: "订单 {order} 第 {line} 行的取消被仓库拒绝，{units} 件继续发货",
    en: "order {order}, line {line}: the warehouse refused the cancellation, {units} will be sent",
  },
  expired: {
    zh: "订单 {order} 第 {line} 行逾期未付款，预留的 {units} 件回到 {location} {pool}库存",
    en: "order {order}, line {line}, was not paid in time: {units} went back to {pool} stock at {location}",
  },
  configured: { zh: "设置被修改", en: "settings were changed" },
  acknowledged: { zh: "告警被确认", en: "an alert was acknowledged" },
  breakerOpened: { zh: "熔断打开：停止接新单", en: "the breaker was opened: no new orders" },
  breakerHalfOpened: { zh: "熔断转为半开", en: "the breaker became half-open" },
  breakerClosed: { zh: "熔断关闭：恢复接单", en: "the breaker was closed: new orders again" },
  otherChange: { zh: "{type}：{units} 件", en: "{type}: {units}" },

  by: { zh: "；操作：{actor}", en: "; by {actor}" },
  byOnBehalf: { zh: "；操作：{actor}，代 {person}", en: "; by {actor} for {person}" },
  settles: { zh: "，按 {source} 的快照 {snapshot}", en: ", to agree with the snapshot {snapshot} of {source}" },
  because: { zh: "；原因：{reason}", en: "; reason: {reason}" },
  reportedBy: { zh: "；依据：{source}", en: "; reported by {source}" },
  happenedAt: { zh: "（发生于 {time}）", en: " (it happened at {time})" },

  missingUnits: {
    zh: "{time} {what}：有 {units} 件在账上找不到",
    en: "{time} {what}: {units} of them were in no balance",
  },
  unexplained: {
    zh: "{time} {what}：货已离开，但账上不在应在之处",
    en: "{time} {what}: the goods left, but were not where the books had them",
  },
  belowZero: {
    zh: "{time} {location} 的{pool}库存变为 {units}：低于零",
    en: "{time} {pool} stock at {location} became {units}: below zero",
  },
  mismatch: {
    zh: "{location} 的{pool}库存：按变化推算为 {counted}，账上为 {stored}",
    en: "{pool} stock at {location}: the changes make {counted}, the ledger has {stored}",
  },
  nothingWrong: { zh: "没有对不上的地方。", en: "Everything adds up." },
  addsUpNot: { zh: "对不上的地方：", en: "What does not add up:" },

  orderTitle: { zh: "订单 {order} 的经过", en: "Order {order}, step by step" },
  ordered: { zh: "下单内容", en: "What was ordered" },
  orderedLine: { zh: "第 {line} 行：{sku} × {units}（{location}）", en: "line {line}: {units} of {sku} at {location}" },
  notKnown: { zh: "订单内容已不可查。", en: "What was ordered is not known any more." },
  stepTaken: { zh: "{step}；依据：{source}", en: "{step}; reported by {source}" },
  created: { zh: "下单", en: "placed" },
  paidStep: { zh: "付款", en: "paid" },
  locked: { zh: "库存锁定", en: "stock locked" },
  picking: { zh: "仓库接单", en: "the warehouse has the order" },
  labelled: { zh: "面单打印", en: "label printed" },
  waybill: { zh: "运单号回传", en: "waybill number reported" },
  outboundStep: { zh: "出库", en: "sent" },
  reported: { zh: "物流揽收上报", en: "reported by the carrier" },
  cancelledStep: { zh: "已取消", en: "cancelled" },
  cancelling: { zh: "申请取消", en: "cancellation requested" },
  cancellationRefused: { zh: "仓库拒绝取消", en: "the warehouse refused the cancellation" },
  partlyOutbound: { zh: "部分出库", en: "sent in part" },
  counted: { zh: "已盘点缺少的件数", en: "the missing units were counted" },
  openExceptions: { zh: "未解决的异常：", en: "Open exceptions:" },
  exceptionLate: { zh: "{step}：逾期，应于 {time} 前完成", en: "{step}: late, was due at {time}" },
  exceptionSkipped: { zh: "{step}：被跳过（{time}）", en: "{step}: skipped ({time})" },
  exceptionRefused: {
    zh: "{step}：买家已取消，但仓库仍会发货（{time}）",
    en: "{step}: cancelled by the buyer, but the warehouse sends it ({time})",
  },
  exceptionUnits: { zh: "{step}：{units} 件在账上找不到（{time}）", en: "{step}: {units} in no balance ({time})" },
  incomplete: { zh: "不完整：{reason}", en: "Not complete: {reason}" },
  stepsInPart: { zh: "日志中只有该订单的部分步骤", en: "the log has the order's steps only in part" },
  linesUnknown: { zh: "订单内容已不可查", en: "what was ordered is not known any more" },
  evidenceInPart: {
    zh: "共 {orders} 个订单，只查找了其中 {searched} 个的依据",
    en: "who caused them was searched for {searched} of {orders} orders",
  },
  ordersLogBegins: { zh: "订单日志始于 {time}", en: "the orders' log begins at {time}" },
  ordersLogLimit: { zh: "订单日志只读取了 {limit} 条", en: "only {limit} entries of the orders' log were read" },
  stockLogBegins: { zh: "库存日志始于 {time}", en: "the stock log begins at {time}" },
  stockLogLimit: {
    zh: "库存日志需读取 {entries} 条，最多读取 {limit} 条",
    en: "{entries} entries of the stock log would have to be read; at most {limit} are",
  },
} as const satisfies Readonly<Record<string, Entry>>;

export type TextKey = keyof typeof DICTIONARY;

type PlaceholdersOf<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | PlaceholdersOf<Rest>
  : never;
type Values<Key extends TextKey> = Readonly<Record<PlaceholdersOf<(typeof DICTIONARY)[Key]["zh"]>, string | number>>;

/** A text of the dictionary with its values. */
export function textOf<Key extends TextKey>(
  language: Language,
  key: Key,
  ...[values]: [PlaceholdersOf<(typeof DICTIONARY)[Key]["zh"]>] extends [never] ? [] : [Values<Key>]
): string {
  const given = (values ?? {}) as Readonly<Record<string, string | number>>;
  return DICTIONARY[key][language].replace(/\{(\w+)\}/g, (_, name: string) => String(given[name]));
}

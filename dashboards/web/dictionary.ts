/**
 * Every text on the page, in Chinese and English side by side. A missing language, an unknown key and a placeholder
 * without a value all fail the build. Placeholders are written `{name}` and must be the same in both languages; the
 * types follow the Chinese text. SKUs, names of people and reasons come from the shop and are shown unchanged.
 */
export type Language = "zh" | "en";

type Entry = Readonly<Record<Language, string>>;

const dictionary = {
  title: { zh: "水位 · 实时库存", en: "Shuiwei · live stock" },
  product: { zh: "水位", en: "Shuiwei" },
  productNote: { zh: "实时库存引擎", en: "Real-time stock engine" },
  otherLanguage: { zh: "English", en: "中文" },
  switchLanguage: { zh: "Switch to English", en: "切换到中文" },

  shopTime: { zh: "店铺时间", en: "Shop time" },
  shopTimeFaster: { zh: "店铺时间 ×{speed}", en: "Shop time ×{speed}" },

  commands: { zh: "指令/秒", en: "Commands/s" },
  events: { zh: "事件/秒", en: "Events/s" },
  lag: { zh: "滞后", en: "Lag" },
  lagEntries: { zh: "{entries} 条待处理", en: "{entries} pending" },
  milliseconds: { zh: "{value} ms", en: "{value} ms" },
  seconds: { zh: "{value} 秒", en: "{value} s" },
  minutes: { zh: "{value} 分钟", en: "{value} min" },
  hours: { zh: "{value} 小时", en: "{value} h" },

  engineRunning: { zh: "运行正常", en: "Running" },
  engineIdle: { zh: "等待订单", en: "Waiting for orders" },
  engineCatchingUp: { zh: "正在追赶", en: "Catching up" },
  engineBehind: { zh: "严重滞后", en: "Far behind" },
  engineStopped: { zh: "暂停接单", en: "Orders stopped" },
  enginePartlyStopped: { zh: "部分停单", en: "Partly stopped" },
  engineUnknown: { zh: "状态未知", en: "Unknown" },

  connectionLoading: { zh: "连接中", en: "Connecting" },
  connectionLive: { zh: "实时", en: "Live" },
  connectionStale: { zh: "数据停滞", en: "Stale" },
  connectionOffline: { zh: "已断线", en: "Offline" },
  connectionReconnecting: { zh: "重连中", en: "Reconnecting" },

  bannerStale: { zh: "数据停滞", en: "No fresh data" },
  bannerStaleFor: { zh: "已 {seconds} 秒没有新数据", en: "Nothing new for {seconds} s" },
  bannerOffline: { zh: "已断线", en: "Offline" },
  bannerAsOf: { zh: "画面停在 {time}", en: "Showing {time}" },
  bannerRetryIn: { zh: "{seconds} 秒后重连", en: "Retrying in {seconds} s" },
  bannerReconnecting: { zh: "正在重连…", en: "Reconnecting…" },
  waitingTitle: { zh: "正在连接引擎…", en: "Connecting to the engine…" },
  waitingFailed: { zh: "连不上引擎", en: "Cannot reach the engine" },
  waitingRefused: { zh: "无法显示此画面", en: "This screen cannot be shown" },
  waitingRefusedFeed: { zh: "服务器拒绝提供数据：{feed}", en: "the server does not send: {feed}" },

  breakerOpen: { zh: "熔断", en: "Breaker open" },
  breakerHalfOpenTitle: { zh: "熔断半开", en: "Breaker half-open" },
  breakerShop: { zh: "全店停止接新单", en: "No new orders: whole shop" },
  breakerLocation: { zh: "仓库 {name} 停止接新单", en: "No new orders: location {name}" },
  breakerSku: { zh: "{name} 停止接新单", en: "No new orders: {name}" },
  breakerUntil: { zh: "至 {time}", en: "until {time}" },
  breakerNoEnd: { zh: "直到人工关闭", en: "until it is closed by hand" },
  breakerThenHalfOpen: { zh: "，之后半开", en: ", then half-open" },
  breakerHalfOpen: { zh: "半开，等待人工决定", en: "half-open, an operator decides" },
  breakerLeft: { zh: "还剩 {left}", en: "{left} left" },
  breakerEnding: { zh: "即将结束", en: "ending" },
  breakerBy: { zh: "操作：{actor}", en: "by {actor}" },
  breakerMissing: { zh: "分区 {partitions} 未确认生效", en: "not known to be in force in partitions {partitions}" },
  breakerMore: { zh: "另有 {number} 处", en: "{number} more" },

  heatmap: { zh: "每分钟消耗热力图", en: "Depletion by minute" },
  heatmapSummary: {
    zh: "热力图：{rows} 个 SKU，{minutes} 分钟。最热：{sku}，近一小时 {units} 件。",
    en: "Heatmap: {rows} SKUs over {minutes} minutes. Hottest: {sku}, {units} units in the last hour.",
  },
  heatmapHint: { zh: "用方向键逐格查看", en: "Use the arrow keys to read cells" },
  heatmapEmpty: { zh: "还没有消耗", en: "No units ordered yet" },
  heatmapEmptyNote: { zh: "第一笔订单到来后，这里会显示", en: "Cells appear with the first order" },
  unitsPerMinute: { zh: "件/分钟", en: "units/min" },
  now: { zh: "现在", en: "now" },
  columnSku: { zh: "SKU", en: "SKU" },
  columnHour: { zh: "近1小时", en: "Last hour" },
  columnTimes: { zh: "日均倍数", en: "× daily" },
  ranks: { zh: "第 {from}–{to} 名", en: "Ranks {from}–{to}" },
  alertMark: { zh: "告警中", en: "Alert open" },
  cellUnits: { zh: "{units} 件", en: "{units} units" },
  cellHour: { zh: "近一小时 {units} 件", en: "{units} in the last hour" },
  cellAverage: { zh: "日均 {units} 件", en: "daily average {units}" },

  alerts: { zh: "消耗告警", en: "Depletion alerts" },
  alertsOpen: { zh: "未解除", en: "open" },
  alertsEmpty: { zh: "没有告警", en: "No open alerts" },
  alertsEmptyNote: { zh: "所有 SKU 的消耗都在正常范围", en: "Every SKU sells at its normal rate" },
  alertsShown: { zh: "显示最新 {number} 条", en: "newest {number} shown" },
  alertsCleared: { zh: "已解除", en: "Cleared" },
  timesMark: { zh: "倍", en: "×" },
  alertTimes: { zh: "较日均", en: "the daily average" },
  alertTimesShort: { zh: "较日均", en: "daily avg" },
  alertCold: { zh: "冷启动", en: "Cold start" },
  alertColdNote: { zh: "尚无日均", en: "no average yet" },
  alertNoSales: { zh: "久未动销", en: "No recent sales" },
  alertNoSalesNote: { zh: "日均为 0", en: "average is 0" },
  alertHourUnits: { zh: "件/近一小时", en: "units, last hour" },
  alertHourUnitsShort: { zh: "件/小时", en: "units/h" },
  alertSince: { zh: "{time} 起", en: "since {time}" },
  alertFor: { zh: "已 {duration}", en: "for {duration}" },
  alertClearedAt: { zh: "{time} 解除", en: "cleared {time}" },
  alertAcknowledged: { zh: "已确认", en: "Acknowledged" },
  alertAnnouncement: {
    zh: "新告警：{sku}，近一小时 {units} 件",
    en: "New alert: {sku}, {units} units in the last hour",
  },

  hotSkus: { zh: "热销 SKU 库存", en: "Hot SKUs and their stock" },
  hotEmpty: { zh: "还没有热销 SKU", en: "No hot SKUs yet" },
  sellable: { zh: "可售", en: "Sellable" },
  reserved: { zh: "预占", en: "Reserved" },
  committed: { zh: "已付待发", en: "Committed" },
  safety: { zh: "安全", en: "Safety" },
  presale: { zh: "预售", en: "Presale" },
  display: { zh: "展示", en: "Display" },
  showAll: { zh: "显示全部 {number} 项", en: "Show all {number}" },
  showFewer: { zh: "收起", en: "Show fewer" },
  soldOut: { zh: "售罄", en: "Sold out" },
  units: { zh: "单位：件", en: "in units" },
  newSku: { zh: "新", en: "new" },

  sceneRush: { zh: "618 开场抢购", en: "June 18 rush" },
  sceneCalm: { zh: "平稳期", en: "Calm" },
  sceneSteady: { zh: "日常流量", en: "Steady traffic" },
  sceneDay: { zh: "日常流量", en: "Ordinary day" },
  sceneReplay: { zh: "历史回放", en: "Replay" },
} as const satisfies Readonly<Record<string, Entry>>;

export type TextKey = keyof typeof dictionary;

type Placeholder<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholder<Rest>
  : never;
type Values<Key extends TextKey> = Placeholder<(typeof dictionary)[Key]["zh"]>;

/** Keys of texts without placeholders. */
export type PlainKey = { [Key in TextKey]: [Values<Key>] extends [never] ? Key : never }[TextKey];

/** Returns a text with its placeholders filled. */
export type Translate = <Key extends TextKey>(
  key: Key,
  ...values: [Values<Key>] extends [never] ? [] : [Readonly<Record<Values<Key>, string>>]
) => string;

export function translator(language: Language): Translate {
  return (key, ...[values]) => {
    const text: string = dictionary[key][language];
    if (values === undefined) return text;
    const filled: Readonly<Record<string, string>> = values;
    return text.replace(/\{(\w+)\}/g, (_, name: string) => filled[name] ?? "");
  };
}

const sceneTexts: Readonly<Record<string, PlainKey>> = {
  rush: "sceneRush",
  calm: "sceneCalm",
  steady: "sceneSteady",
  day: "sceneDay",
  replay: "sceneReplay",
};

/** The text for a scene; its own name when the dictionary has none. */
export function sceneText(scene: string, language: Language): string {
  const key = sceneTexts[scene];
  return key === undefined ? scene : dictionary[key][language];
}

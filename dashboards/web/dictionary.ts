/**
 * Every text of the pages, in Chinese and English side by side; those of alerts and the phone are in phone-texts.ts,
 * those of the storefront in shop-texts.ts. A missing language, an unknown key and a placeholder without a value all
 * fail the build. Placeholders are written `{name}` and must be the same in both languages; the types follow the
 * Chinese text. SKUs, names of people and reasons come from the shop and are shown unchanged.
 */
import { phoneTexts } from "./phone-texts.js";
import { shopTexts } from "./shop-texts.js";

export type Language = "zh" | "en";

type Entry = Readonly<Record<Language, string>>;

const dictionary = {
  ...phoneTexts,
  ...shopTexts,
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
  days: { zh: "{value} 天", en: "{value} d" },

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
  breakerByItself: { zh: "系统自动熔断", en: "opened by itself" },
  byItself: { zh: "自动", en: "by itself" },
  breakerHalfOpenCompares: { zh: "半开，正在重新对账", en: "half-open, comparing again" },
  evidence: { zh: "{a} ↔ {b} 相差 {share}，阈值 {threshold}", en: "{a} and {b} differ by {share}, limit {threshold}" },
  evidenceSkus: { zh: "主要在 {skus}", en: "mostly in {skus}" },
  evidenceMore: { zh: "，另 {number} 个", en: " and {number} more" },
  listComma: { zh: "、", en: ", " },
  partyLedger: { zh: "账本", en: "Ledger" },
  partyPublished: { zh: "已发布展示数", en: "Published" },
  dryRun: { zh: "试运行", en: "Dry run" },
  dryRunWould: { zh: "本应熔断，未实际停单", en: "would have opened the breaker; orders go on" },
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

  alerts: { zh: "告警", en: "Alerts" },
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
  otherAlertAnnouncement: { zh: "新告警：{rule}，{subject}", en: "New alert: {rule}, {subject}" },

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

  deskTitle: { zh: "水位 · 对账台", en: "Shuiwei · desk" },
  pages: { zh: "页面", en: "Pages" },
  wall: { zh: "大屏", en: "Wall" },
  desk: { zh: "对账台", en: "Desk" },
  deskLink: { zh: "对账台：来源、差异、熔断", en: "The desk: sources, differences, breaker" },
  callerRole: { zh: "权限：{role}", en: "role: {role}" },
  loading: { zh: "读取中…", en: "Loading…" },
  reason: { zh: "原因（会记录在案）", en: "Reason (is recorded)" },
  cancel: { zh: "取消", en: "Cancel" },
  sending: { zh: "提交中…", en: "Sending…" },
  faultNoSession: { zh: "此浏览器尚未配对", en: "This browser is not paired" },
  faultNoPermission: { zh: "没有权限", en: "No permission" },
  faultOffline: { zh: "服务器没有回应，以下为旧数据", en: "The server does not answer; what is shown is old" },
  faultAnswer: { zh: "请求未成功（{status}）：{detail}", en: "Not done ({status}): {detail}" },
  noSession: { zh: "未配对", en: "Not paired" },
  noSessionNote: {
    zh: "大屏公开，对账台的明细需要配对后查看",
    en: "The wall is public; the desk's lists need a paired browser",
  },
  noSessionPair: { zh: "配对此浏览器", en: "Pair this browser" },

  breaker: { zh: "熔断", en: "Breaker" },
  breakerClosed: { zh: "未熔断", en: "Closed" },
  breakerClosedNote: { zh: "正常接单", en: "orders are accepted" },
  breakerDoOpen: { zh: "熔断", en: "Open breaker" },
  breakerDoOpenShop: { zh: "手动熔断全店…", en: "Open for the shop…" },
  breakerDoExtend: { zh: "延长…", en: "Extend…" },
  breakerDoClose: { zh: "解除熔断…", en: "Close…" },
  breakerOpenNote: {
    zh: "全店停止接新单；付款、取消、出库照常。",
    en: "The whole shop takes no new orders. Payments, cancellations and outbound go on.",
  },
  breakerExtendNote: {
    zh: "从现在起重新计时，原因改为你填写的。",
    en: "A new end, counted from now, with your reason.",
  },
  breakerCloseNote: {
    zh: "立即恢复接单；下一次对账若仍超阈值，会再次熔断。",
    en: "Orders are accepted at once. The next comparison above the limit opens it again.",
  },
  breakerFor: { zh: "持续", en: "For" },
  breakerByHand: { zh: "直到手动解除", en: "until closed by hand" },
  breakerHistory: { zh: "最近变化", en: "Recent changes" },
  historyOpened: { zh: "熔断", en: "Opened" },
  historyExtended: { zh: "延长", en: "Extended" },
  historyHalfOpened: { zh: "半开", en: "Half-open" },
  historyClosed: { zh: "解除", en: "Closed" },
  historyWouldOpen: { zh: "本应熔断", en: "Would open" },
  historyTimeOver: { zh: "到时，重新对账", en: "its time is over: compared again" },
  historyWithin: { zh: "重新对账，已在阈值内", en: "compared again: within the limit" },
  historyChanged: { zh: "变化", en: "Changed" },
  historyEmpty: { zh: "还没有熔断记录", en: "It has not been opened yet" },
  modeOn: { zh: "超阈值自动熔断", en: "opens by itself above the limit" },
  modeDryRun: { zh: "试运行：只提示，不停单", en: "dry run: reports, does not stop orders" },
  modeOff: { zh: "自动熔断已关闭", en: "opens by hand only" },

  divergence: { zh: "差异率", en: "Divergence" },
  threshold: { zh: "阈值 {share}", en: "limit {share}" },
  compareNow: { zh: "立即对账", en: "Compare now" },
  divergenceEmpty: { zh: "还没有对账结果", en: "Nothing compared yet" },
  divergenceEmptyNote: { zh: "第一份完整快照到达后自动对账", en: "The first complete snapshot is compared by itself" },
  pairName: { zh: "{a} ↔ {b}", en: "{a} ↔ {b}" },
  sparkLabel: { zh: "{a} ↔ {b}：现在 {share}，阈值 {threshold}", en: "{a} and {b}: now {share}, limit {threshold}" },
  pairEqual: { zh: "{cells} 格全部一致", en: "all {cells} cells equal" },
  pairDiffers: { zh: "{cells} 格不一致，共 {units} 件", en: "{cells} cells, {units} units" },
  comparedAt: { zh: "{time} 对账（{cause}）", en: "compared {time} ({cause})" },
  nextDue: { zh: "下次定时 {time}", en: "next scheduled {time}" },
  causeSchedule: { zh: "定时", en: "scheduled" },
  causeDemand: { zh: "手动", en: "on demand" },
  causeSnapshot: { zh: "收到快照", en: "new snapshot" },
  causeHalfOpen: { zh: "半开复查", en: "half-open check" },
  leftOut: { zh: "{source} 未参与：", en: "{source} left out:" },

  sources: { zh: "来源", en: "Sources" },
  sourcesNote: { zh: "{number} 个", en: "{number} in all" },
  sourcesEmpty: { zh: "还没有接入来源", en: "No source is connected yet" },
  sourcesEmptyNote: {
    zh: "用一个配置文件接入 ERP、WMS、店铺后台，或直接上传库存快照：",
    en: "Connect an ERP, a WMS or a storefront by one configuration file, or upload a snapshot of stock:",
  },
  sourcesEmptyDocs: { zh: "接口文档", en: "API documentation" },
  sourceFresh: { zh: "正常", en: "Fresh" },
  sourceReceiving: { zh: "接收中", en: "Receiving" },
  sourceOld: { zh: "过期", en: "Too old" },
  sourceRefused: { zh: "被拒收", en: "Refused" },
  sourceOverdue: { zh: "逾期未到", en: "Overdue" },
  sourceFailing: { zh: "有故障", en: "Failing" },
  sourceWaiting: { zh: "等待首份", en: "Waiting" },
  sourceAge: { zh: "{age}前", en: "{age} ago" },
  sourceAsOf: { zh: "截至 {time}", en: "as of {time}" },
  sourceRows: { zh: "{rows} 行", en: "{rows} rows" },
  sourceSkew: { zh: "时钟偏差 {skew}", en: "clock off by {skew}" },
  sourceProgress: { zh: "已收 {received} / {rows} 行", en: "{received} of {rows} rows" },
  measureOnHand: { zh: "在库", en: "on hand" },
  measureSellable: { zh: "可售", en: "sellable" },
  measureDisplay: { zh: "展示", en: "displayed" },

  differences: { zh: "待处理差异", en: "Differences to settle" },
  differencesNote: { zh: "{number} 行", en: "{number} rows" },
  differencesEmpty: { zh: "没有待处理的差异", en: "Nothing to settle" },
  differencesEmptyNote: {
    zh: "各来源与账本一致，或差异都已处理",
    en: "Sources and ledger agree, or every difference is settled",
  },
  filterSource: { zh: "来源", en: "Source" },
  filterLocation: { zh: "仓库", en: "Location" },
  filterAll: { zh: "全部", en: "All" },
  columnSource: { zh: "来源数", en: "Source has" },
  columnLedger: { zh: "账本数", en: "Ledger has" },
  columnCorrection: { zh: "更正账本", en: "Correction" },
  chooseAll: { zh: "全选", en: "Choose all rows" },
  chooseRow: { zh: "选择 {sku}，{location}", en: "Choose {sku} at {location}" },
  chosen: { zh: "已选 {number} 行", en: "{number} chosen" },
  moreRows: { zh: "只显示前 {number} 行，用筛选查看其余", en: "The first {number} rows; filter to see others" },
  approve: { zh: "批准更正", en: "Approve" },
  reject: { zh: "驳回", en: "Reject" },
  approveTitle: { zh: "批准 {rows} 行更正，共 {units} 件", en: "Approve {rows} corrections of {units} units" },
  rejectTitle: { zh: "驳回 {rows} 行，共 {units} 件", en: "Reject {rows} corrections of {units} units" },
  approveNote: {
    zh: "账本按来源更正，每行一条不可改的记录。余额已变的行不会更正。",
    en: "The ledger follows the source, with one lasting record a row. A row whose balance has changed is not corrected.",
  },
  rejectNote: { zh: "账本不变；来源需自行更正。", en: "The ledger stays; the source has to be put right." },
  settledNote: { zh: "已处理 {number} 行", en: "{number} rows done" },
  settledRefused: { zh: "{number} 行未处理：{reason}", en: "{number} rows not done: {reason}" },
  refusedChanged: {
    zh: "余额已变，表中是按现在余额的新建议",
    en: "their balance has changed; the table has what is proposed now",
  },
  refusedOutdated: {
    zh: "快照之后已更正或重新上报，请看最新对账",
    en: "corrected or reported anew since: see the newest comparison",
  },
  refusedUnknown: { zh: "建议已更新，请重新选择", en: "the proposal has been replaced: choose again" },
  refusedApproving: { zh: "已批准，结果待确认，可再批准一次", en: "approved, result not known: approve again" },
  refusedOther: { zh: "账本没有接受", en: "the ledger did not accept it" },
  needsDecision: { zh: "件数都已占用，需人工决定", en: "all units are held: needs a decision" },
  renewed: { zh: "余额已变，新建议", en: "balance changed, new proposal" },
  outdatedRow: { zh: "快照之后已更正或重新上报", en: "corrected or reported anew since" },

  inspector: { zh: "为什么不一样", en: "Why they differ" },
  searchSku: { zh: "SKU 或订单号", en: "SKU or order" },
  explain: { zh: "查看", en: "Explain" },
  inspectorEmpty: { zh: "选择一行差异，或输入 SKU", en: "Choose a difference, or enter a SKU" },
  inspectorEmptyNote: {
    zh: "显示从哪一笔开始不一致，以及每一件的来由",
    en: "Shows where its figures part, and the cause of every unit",
  },
  whereTitle: { zh: "与 {source} 从哪里开始不一致", en: "Where it parts from {source}" },
  whereEqual: { zh: "与 {source} 一致", en: "Agrees with {source}" },
  whereBetween: {
    zh: "{equal} 的快照一致，{unequal} 的快照不一致",
    en: "Equal in the snapshot of {equal}, not in that of {unequal}",
  },
  whereOlder: { zh: "也可能更早就不一致，更早的快照已不保留", en: "It may be older than the snapshots that are kept" },
  wherePersistent: {
    zh: "多份快照里一直存在，不是前后时间差",
    en: "It stays over several snapshots, so it is no matter of timing",
  },
  whereNone: { zh: "没有找到能解释的事件", en: "No event explains it" },
  whereSeveral: { zh: "{number} 个原因同样符合，不能只认定一个", en: "{number} causes fit equally well" },
  whereMore: { zh: "另有 {number} 个", en: "and {number} more" },
  faultMissing: {
    zh: "{time} 的 {units} 件（{location}），{source} 没有记账",
    en: "{time}: {units} units at {location} are missing in {source}",
  },
  faultDoubled: {
    zh: "{time} 的 {units} 件（{location}），{source} 记了两次",
    en: "{time}: {units} units at {location} were booked twice in {source}",
  },
  faultMisplaced: {
    zh: "{time} 的 {units} 件属于 {location}，{source} 记在了 {bookedAt}",
    en: "{time}: {units} units of {location} were booked at {bookedAt} in {source}",
  },
  faultUnitsChanged: {
    zh: "{time} 的 {units} 件（{location}），{source} 记的件数不同",
    en: "{time}: {units} units at {location} were booked with another number in {source}",
  },
  faultUnknown: {
    zh: "{time} {source} 在 {location} 记了 {units} 件，账本没有对应的事件",
    en: "{time}: {source} booked {units} units at {location} that the ledger does not have",
  },
  correctSource: { zh: "应更正 {source}", en: "correct {source}" },
  rest: { zh: "另有 {units} 件已占用", en: "{units} more are held" },
  restNote: {
    zh: "这些件数已预占、已付待发或为安全库存，需要单独决定",
    en: "These units are reserved, committed or safety stock: they need a decision of their own",
  },
  storyTitle: { zh: "变动经过", en: "What happened" },
  storySpan: { zh: "时间范围", en: "Span" },
  storyHours: { zh: "最近 {hours} 小时", en: "last {hours} h" },
  storyDays: { zh: "最近 {days} 天", en: "last {days} days" },
  storyFirst: { zh: "从头显示", en: "From the beginning" },
  storyNext: { zh: "后面的变动", en: "Later changes" },

  sceneForward: { zh: "快进到 18:00 对账", en: "Fast forward to 18:00" },
  sceneDrift: { zh: "18:00 每日对账", en: "Daily comparison, 18:00" },
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
  forward: "sceneForward",
  drift: "sceneDrift",
};

/** The text for a scene; its own name when the dictionary has none. */
export function sceneText(scene: string, language: Language): string {
  const key = sceneTexts[scene];
  return key === undefined ? scene : dictionary[key][language];
}

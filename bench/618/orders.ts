/**
 * The orders of 18 June, 00:00 to 01:00, made from a seed: when each is placed, when its buyer pays, what is in it
 * and where it goes. The arrival follows from the incident's figures: 12,843 orders are 3.6 a second, so the peak of
 * 8,200 requests a second cannot be orders; it is the first second's rush of buyers who, unanswered, send again every
 * half second (about 4,100 × 2). Then the rush decays to an even stream for the rest of the hour. Only 3,211 of the
 * orders got through after 00:17, 1.25 a second, while more than that came all the time.
 */
import { chainIdFromNumber } from "../../engine/kernel/chain-id.js";
import { type Random, seededRandom } from "../../engine/kernel/random.js";
import { HOUR_MS } from "./shop-hour.js";

export interface HourOrder {
  id: string;
  /** Shop time since 00:00 at which the buyer sends the order. */
  placedMs: number;
  /** How long after the shop's answer the buyer pays, in shop milliseconds. */
  payAfterMs: number;
  /** This buyer's finger is quick: every request goes out twice. */
  tapsTwice: boolean;
  lines: { sku: string; units: number }[];
  shipTo: { name: string; phone: string; address: string };
}

export const INCIDENT_ORDERS = 12_843;
/** The long field of the incident: `buyer_full_address_detail`. */
export const ADDRESS_CHARACTERS = 562;
const SKUS = 618;
const SEED = 618;

/**
 * Of all orders: those of the first second, of the decaying rush after it, and the even stream of the hour, 2 a
 * second.
 */
const BURST_SHARE = 3_850 / INCIDENT_ORDERS;
const DECAY_SHARE = 1_793 / INCIDENT_ORDERS;
const BURST_MS = 1_000;
const DECAY_MS = 8_000;
/** From "order" to "pay" on one's phone: a look at the sum, and a fingerprint. */
const PAY_FIRST_MS = 1_000;
const PAY_SPREAD_MS = 5_000;
const TAPS_TWICE_SHARE = 0.02;
const CHANNEL = "WB";

const PLACES = [
  "浙江省杭州市西湖区",
  "浙江省宁波市鄞州区",
  "广东省广州市天河区",
  "广东省深圳市南山区",
  "江苏省苏州市吴中区",
  "江苏省南京市玄武区",
  "四川省成都市武侯区",
  "湖北省武汉市洪山区",
  "陕西省西安市雁塔区",
  "山东省青岛市市南区",
  "福建省厦门市思明区",
  "湖南省长沙市岳麓区",
  "北京市朝阳区",
  "上海市浦东新区",
  "天津市南开区",
  "重庆市渝北区",
] as const;
const STREETS = ["文三路", "人民路", "解放大道", "中山东路", "科技园南路", "建设二路", "学府街", "湖滨路"] as const;
const COMPOUNDS = ["阳光花园", "锦绣江南", "翠苑小区", "万科城", "金色家园", "世纪新城"] as const;
const WISHES = [
  "请放在东门丰巢柜，取件码发短信",
  "工作日白天家里没人，请打电话后放物业前台",
  "小区正门修路，请从北门进，保安会登记车牌",
  "易碎物品请轻放，外箱破损请当面拍照",
  "电梯需要刷卡，到楼下请按门禁呼叫",
  "如遇下雨请套防水袋，不要放在露天台阶上",
  "收件人年纪较大，请送货上门，不要放驿站",
  "发票抬头与收货人不同，请随货附发货清单",
] as const;
const SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林";
const NAMES = ["伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "军", "杰", "娟", "涛", "超"] as const;

/**
 * The hour's orders by the time they are placed.
 * @param idMs a real instant for the ids, about now
 */
export function ordersOf(idMs: number, orders = INCIDENT_ORDERS, seed = SEED): HourOrder[] {
  const random = seededRandom(seed);
  return placedTimes(orders, random).map((placedMs, number) => ({
    id: chainIdFromNumber(CHANNEL, Math.floor(idMs), seed * 2 ** 20 + number),
    placedMs,
    payAfterMs: PAY_FIRST_MS + Math.floor(random.next() * PAY_SPREAD_MS),
    tapsTwice: random.next() < TAPS_TWICE_SHARE,
    lines: linesOf(random),
    shipTo: {
      name: random.pick([...SURNAMES]) + random.pick(NAMES),
      phone: `13${String(random.below(1_000_000_000)).padStart(9, "0")}`,
      address: addressOf(random),
    },
  }));
}

export const skuNames = (): string[] => Array.from({ length: SKUS }, (_, number) => skuName(number));

const skuName = (number: number): string => `SKU-${String(number).padStart(4, "0")}`;

function placedTimes(orders: number, random: Random): number[] {
  const burst = Math.round(orders * BURST_SHARE);
  const decay = Math.round(orders * DECAY_SHARE);
  const times = Array.from({ length: orders }, (_, i) => {
    if (i < burst) return random.next() * BURST_MS;
    if (i < burst + decay) return Math.min(BURST_MS - DECAY_MS * Math.log(1 - random.next()), HOUR_MS - 1);
    return random.next() * HOUR_MS;
  });
  return times.map(Math.floor).sort((a, b) => a - b);
}

/** One to three SKUs, few of them in most orders. */
function linesOf(random: Random): HourOrder["lines"] {
  const skus = new Set(
    Array.from({ length: 1 + random.below(3) }, () => skuName(Math.floor(SKUS * random.next() ** 3))),
  );
  return [...skus].map((sku) => ({ sku, units: 1 + random.below(2) }));
}

/** Province, city, district, street, number, and what people write behind it, to exactly so many characters. */
function addressOf(random: Random): string {
  let text = `${random.pick(PLACES)}${random.pick(STREETS)}${1 + random.below(999)}号${random.pick(COMPOUNDS)}${1 + random.below(30)}幢${1 + random.below(4)}单元${1 + random.below(28)}0${1 + random.below(4)}室`;
  while (text.length < ADDRESS_CHARACTERS) text += `，${random.pick(WISHES)}`;
  return text.slice(0, ADDRESS_CHARACTERS);
}

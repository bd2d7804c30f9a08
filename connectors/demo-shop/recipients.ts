/**
 * Made-up recipients for the demo shop's orders: a name, a telephone number and an address in a real district, chosen
 * by the order's id, so that a retry has the same one. Numbers begin with 100, which no mobile number does. A few
 * buyers leave a note, which the WMS has no field for.
 */
import type { ShipTo } from "../../engine/orders/model.js";

const SURNAMES = [..."王李张刘陈杨黄赵吴周徐孙马朱胡郭何林"];
const GIVEN_NAMES = ["伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "军", "杰", "娟", "涛", "超"];
const DISTRICTS = [
  ["浙江省", "杭州市", "西湖区"],
  ["浙江省", "宁波市", "鄞州区"],
  ["广东省", "广州市", "天河区"],
  ["广东省", "深圳市", "南山区"],
  ["江苏省", "苏州市", "吴中区"],
  ["江苏省", "南京市", "玄武区"],
  ["四川省", "成都市", "武侯区"],
  ["湖北省", "武汉市", "洪山区"],
  ["陕西省", "西安市", "雁塔区"],
  ["山东省", "青岛市", "市南区"],
  ["福建省", "厦门市", "思明区"],
  ["湖南省", "长沙市", "岳麓区"],
] as const;
const STREETS = ["文三路", "人民路", "解放大道", "中山东路", "科技园南路", "建设二路", "学府街", "湖滨路"];
const NOTES = ["请放在门口", "工作日白天请打电话", "电梯需要刷卡，到楼下请按门禁"];
/** One order in so many has a note. */
const NOTE_EVERY = 50;
const PHONE_PREFIX = "100";
const PHONE_DIGITS = 8;

/** The recipient of an order; the same for every call with the same id. */
export function recipientOf(order: string): ShipTo {
  let state = hashOf(order);
  /** A number from 0 to `limit` - 1, from the next part of the hash. */
  const below = (limit: number): number => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) >>> 0;
    state = (state ^ (state >>> 12)) >>> 0;
    return state % limit;
  };
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)] as Item;
  const [province, city, district] = pick(DISTRICTS);
  const recipient: ShipTo = {
    name: pick(SURNAMES) + pick(GIVEN_NAMES),
    phone: PHONE_PREFIX + String(below(10 ** PHONE_DIGITS)).padStart(PHONE_DIGITS, "0"),
    province,
    city,
    district,
    address: `${pick(STREETS)}${1 + below(400)}号${1 + below(30)}幢${101 + below(1_800)}室`,
  };
  if (below(NOTE_EVERY) === 0) recipient.note = pick(NOTES);
  return recipient;
}

/** FNV-1a, 32 bits. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

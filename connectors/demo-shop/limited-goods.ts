/**
 * The demo shop's limited editions: few units each, which sell out and come back all the time, so that a visitor of the
 * storefront sees both at whatever minute. They are beside the catalogue: the shop's traffic, which is drawn from that,
 * has none of them. The same script in every demo; made up like all the rest.
 */
import type { Name } from "./catalogue.js";

export interface LimitedGood {
  readonly code: string;
  readonly name: Name;
  /** In yuan. */
  readonly price: number;
}

/** As many as fit into a row. */
export const LIMITED_GOODS: readonly LimitedGood[] = [
  { code: "MUG-L07", name: { zh: "樱花马克杯 限定", en: "Cherry mug" }, price: 69 },
  { code: "TOY-L09", name: { zh: "毛绒小熊 限定", en: "Teddy bear" }, price: 128 },
  { code: "BAG-L03", name: { zh: "帆布双肩包 限定", en: "Canvas backpack" }, price: 259 },
  { code: "TEA-L05", name: { zh: "明前龙井 限量", en: "Longjing tea" }, price: 188 },
  { code: "UMB-L04", name: { zh: "长柄雨伞 限定", en: "Long umbrella, limited" }, price: 99 },
  { code: "EAR-L13", name: { zh: "头戴耳机 联名", en: "Headphones" }, price: 399 },
  { code: "CAP-L08", name: { zh: "棒球帽 联名", en: "Baseball cap" }, price: 89 },
];

/** All are in this warehouse. */
export const LIMITED_LOCATION = "SHA";
/** Sold one by one, then received again together. So few that at the demo's speed no alert fires (R10: 50 an hour). */
export const LIMITED_UNITS = 4;
/** In real time, so that a visitor can follow it at every speed of the shop's clock. */
export const LIMITED_PACE = {
  /** From one order to the next. */
  orderEveryMs: 6_000,
  /** From the sell-out to the return. */
  outForMs: 14_000,
  /** From one good to the next, so that there is something to see every few seconds. */
  apartMs: 5_400,
} as const;

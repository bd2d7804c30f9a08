/**
 * Makes the WMS's body of an order (R23), with only the fields of the contract `wms-inbound`, and one object with the
 * rest when the buyer wrote more. Pure: the same order always gives the same body and the same object under the same
 * key, so both may be sent again. An order never waits for its address: without codes it is sent with
 * `addressState: unresolved`, and the object has the address as written.
 */
import type { PickRequest } from "../../engine/jobs/order-flow/job.js";
import { chainIdTimeMs } from "../../engine/kernel/chain-id.js";
import { type DivisionCodes, firstCharacters, parseAddress, plainText } from "./address.js";

/** The body, as defined in contracts/wms-inbound.schema.json. */
export interface WmsInboundOrder {
  orderNo: string;
  placedAt: string;
  paidAt: string;
  lines: { lineNo: number; sku: string; warehouse: string; units: number }[];
  receiver?: { name?: string; phone?: string };
  addressState: "resolved" | "unresolved" | "absent";
  address?: DivisionCodes & { houseNumber: string };
  detailRef?: string;
}

export interface PreparedPick {
  body: WmsInboundOrder;
  /** What the body has no field for, as JSON: `{"order", "shipTo"}` with the left-over fields as they were written. */
  detail?: { key: string; bytes: Uint8Array; contentType: string };
}

/** The contract's limits. */
export const MAX_NAME_CHARACTERS = 50;
export const MAX_HOUSE_NUMBER_CHARACTERS = 80;
const PHONE = /^[0-9+*(][0-9+*() -]{4,19}$/;

const DAY_CHARACTERS = "2026-06-18".length;

/** Key of an order's object; its folder is the day it was placed (UTC), so that old ones can be deleted by prefix. */
export const detailKey = (order: string): string =>
  `orders/${new Date(chainIdTimeMs(order)).toISOString().slice(0, DAY_CHARACTERS)}/${order}.json`;

/** Splits an order into the body and the object. */
export function preparePick(request: PickRequest): PreparedPick {
  const { order, placedMs, paidMs, lines, shipTo = {} } = request;
  const { name, phone, address, province, city, district, ...left } = shipTo;
  const body: WmsInboundOrder = {
    orderNo: order,
    placedAt: new Date(placedMs).toISOString(),
    paidAt: new Date(paidMs).toISOString(),
    lines: lines.map(({ sku, location, units }, i) => ({ lineNo: i + 1, sku, warehouse: location, units })),
    addressState: "absent",
  };
  const kept: Record<string, unknown> = {};

  const receiver = receiverOf(name, phone, kept);
  if (Object.keys(receiver).length > 0) body.receiver = receiver;

  const written = { address, province, city, district };
  if (Object.values(written).some(isFilled)) {
    const parsed = parseAddress(
      {
        text: address ?? "",
        ...(province === undefined ? {} : { province }),
        ...(city === undefined ? {} : { city }),
        ...(district === undefined ? {} : { district }),
      },
      MAX_HOUSE_NUMBER_CHARACTERS,
    );
    body.addressState = parsed.state;
    if (parsed.state === "resolved") body.address = { ...parsed.codes, houseNumber: parsed.houseNumber };
    if (parsed.state === "unresolved") Object.assign(kept, written);
    else if (parsed.rest !== "") kept["address"] = address;
  }

  const rest = Object.entries({ ...kept, ...left }).filter(([, value]) => isFilled(value));
  if (rest.length === 0) return { body };
  const key = detailKey(order);
  body.detailRef = key;
  const bytes = Buffer.from(JSON.stringify({ order, shipTo: Object.fromEntries(rest) }));
  return { body, detail: { key, bytes, contentType: "application/json" } };
}

const isFilled = (value: unknown): boolean =>
  typeof value === "string" ? value.trim() !== "" : value !== undefined && value !== null;

/** Name and phone as far as the contract allows; the original of a shortened or omitted one is kept. */
function receiverOf(
  name: string | undefined,
  phone: string | undefined,
  kept: Record<string, unknown>,
): NonNullable<WmsInboundOrder["receiver"]> {
  const receiver: NonNullable<WmsInboundOrder["receiver"]> = {};
  const plainName = plainText(name ?? "");
  const shortName = firstCharacters(plainName, MAX_NAME_CHARACTERS);
  if (shortName !== "") receiver.name = shortName;
  if (shortName !== plainName) kept["name"] = name;
  const plainPhone = plainText(phone ?? "");
  if (PHONE.test(plainPhone)) receiver.phone = plainPhone;
  else if (plainPhone !== "") kept["phone"] = phone;
  return receiver;
}

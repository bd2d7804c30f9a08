/**
 * What is sent to the warehouse of an order: only the contract's fields, with a limited piece of free text,
 * whatever the buyer wrote; and none of the buyer's text is lost, because the rest is in the object.
 */
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { checkKey } from "../../../connectors/objects/object-store.js";
import { type Contract, loadContract } from "../../../connectors/wms/contract.js";
import { divisions } from "../../../connectors/wms/divisions.js";
import { MAX_HOUSE_NUMBER_CHARACTERS, MAX_NAME_CHARACTERS, preparePick } from "../../../connectors/wms/payload.js";
import type { PickRequest } from "../../../engine/jobs/order-flow/job.js";
import { chainIdFromNumber } from "../../../engine/kernel/chain-id.js";
import type { ShipTo } from "../../../engine/orders/model.js";
import { MAX_UNITS } from "../../../engine/stock/model.js";

const PLACED_MS = Date.UTC(2026, 5, 17, 16, 0, 1, 618);
const REQUEST: PickRequest = {
  order: chainIdFromNumber("WB", PLACED_MS, 618),
  placedMs: PLACED_MS,
  paidMs: PLACED_MS + 2_500,
  lines: [
    { sku: "TEA-0042", location: "main", units: 2 },
    { sku: "杯-1", location: "SH-2", units: 1 },
  ],
};
const KEY = `orders/2026-06-17/${REQUEST.order}.json`;
/** A later version's fields may come, too. */
const to = (shipTo: (ShipTo & Record<string, unknown>) | undefined) =>
  preparePick({ ...REQUEST, ...(shipTo === undefined ? {} : { shipTo }) });
const detailOf = ({ detail }: ReturnType<typeof preparePick>) =>
  detail && JSON.parse(Buffer.from(detail.bytes).toString());

let contract: Contract;
beforeAll(async () => {
  contract = await loadContract("wms-inbound");
});

describe("an order for the warehouse", () => {
  it("has codes and house number, and needs no object when that is all", () => {
    const shipTo = { name: "王小明", phone: "138 0000 1111", address: "浙江省杭州市西湖区文三路１２３号" };
    expect(to(shipTo)).toEqual({
      body: {
        orderNo: REQUEST.order,
        placedAt: "2026-06-17T16:00:01.618Z",
        paidAt: "2026-06-17T16:00:04.118Z",
        lines: [
          { lineNo: 1, sku: "TEA-0042", warehouse: "main", units: 2 },
          { lineNo: 2, sku: "杯-1", warehouse: "SH-2", units: 1 },
        ],
        receiver: { name: "王小明", phone: "138 0000 1111" },
        addressState: "resolved",
        address: { province: "330000", city: "330100", district: "330106", houseNumber: "文三路123号" },
      },
    });
  });

  it("has the incident's address in an object, and its street in the body", () => {
    const address = `浙江省杭州市西湖区文三路123号2幢301室${"（请放到南门快递柜，不要打电话）".repeat(40)}`.slice(
      0,
      562,
    );
    const prepared = to({ name: "王小明", phone: "13800001111", address, note: "送礼" });
    expect(prepared.body).toMatchObject({ address: { houseNumber: "文三路123号2幢301室" }, detailRef: KEY });
    expect(prepared.detail).toMatchObject({ key: KEY, contentType: "application/json" });
    expect(detailOf(prepared)).toEqual({ order: REQUEST.order, shipTo: { address, note: "送礼" } });
  });

  it("is sent without codes when the address cannot be parsed, with the address in the object", () => {
    const shipTo = { address: "1 Infinite Loop", province: "California", note: " " };
    const prepared = to(shipTo);
    expect(prepared.body).toMatchObject({ addressState: "unresolved", detailRef: KEY });
    expect(prepared.body).not.toHaveProperty("address");
    expect(detailOf(prepared)).toEqual({
      order: REQUEST.order,
      shipTo: { address: "1 Infinite Loop", province: "California" },
    });
  });

  it("is sent without a buyer", () => {
    for (const shipTo of [undefined, {}, { name: " ", address: "\n" }]) {
      const { body, detail } = to(shipTo);
      expect(body).toMatchObject({ addressState: "absent" });
      expect([body.receiver, body.detailRef, detail]).toEqual([undefined, undefined, undefined]);
    }
  });

  it("stores in the object what is too long, not a phone number, or without a field", () => {
    const name = "长".repeat(MAX_NAME_CHARACTERS + 1);
    const prepared = to({ name, phone: "微信 wxid_1", floor: { lift: true } });
    expect(prepared.body.receiver).toEqual({ name: "长".repeat(MAX_NAME_CHARACTERS) });
    expect(detailOf(prepared).shipTo).toEqual({ name, phone: "微信 wxid_1", floor: { lift: true } });
  });

  it("is the same each time, also when it was placed in the year 3000", () => {
    expect(to({ address: "?" })).toEqual(to({ address: "?" }));
    const order = chainIdFromNumber("ZZ", Date.UTC(3000, 0, 1), 0);
    expect(preparePick({ ...REQUEST, order, shipTo: { note: "x" } }).detail?.key).toBe(
      `orders/3000-01-01/${order}.json`,
    );
  });
});

describe("any order", () => {
  const names = [...divisions()].map(({ name }) => name);
  const words = fc.oneof(
    fc.constantFrom(...names, "文三路", "123号", "(", " ", "13800001111", "\ud800", "\u0000", "详"),
    fc.string({ unit: "binary", maxLength: 40 }),
  );
  const text = fc.array(words, { maxLength: 20 }).map((parts) => parts.join("").slice(0, 2_000));
  const line = fc.record({
    sku: fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 64 }),
    location: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/),
    units: fc.integer({ min: 1, max: MAX_UNITS }),
  });
  const request = fc.record({
    order: fc.nat().map((salt) => chainIdFromNumber("WB", PLACED_MS, salt)),
    placedMs: fc.constant(PLACED_MS),
    paidMs: fc.integer({ min: PLACED_MS, max: PLACED_MS + 1e9 }),
    lines: fc.array(line, { minLength: 1, maxLength: 3 }),
    shipTo: fc.record(
      {
        name: text,
        phone: text,
        address: text,
        province: text,
        city: text,
        district: text,
        note: text,
        other: fc.json(),
      },
      { requiredKeys: [] },
    ),
  });

  it("fits the contract, and has little free text", () => {
    fc.assert(
      fc.property(request, (given) => {
        const { body, detail } = preparePick(given as PickRequest);
        const sent: unknown = JSON.parse(JSON.stringify(body));
        expect(contract.check(sent)).toEqual([]);
        expect([...(body.address?.houseNumber ?? "")].length).toBeLessThanOrEqual(MAX_HOUSE_NUMBER_CHARACTERS);
        for (const value of Object.values({ ...body, ...body.receiver, ...body.address }))
          if (typeof value === "string") expect([...value].length).toBeLessThanOrEqual(MAX_HOUSE_NUMBER_CHARACTERS);
        expect(body.detailRef).toBe(detail?.key);
        if (detail) checkKey(detail.key);
      }),
      { numRuns: 100 },
    );
  });

  it("loses nothing of the buyer's text", () => {
    fc.assert(
      fc.property(request, (given) => {
        const { body, detail } = preparePick(given as PickRequest);
        const kept = detail ? JSON.parse(Buffer.from(detail.bytes).toString()).shipTo : {};
        const { shipTo } = given;
        const stored = JSON.parse(JSON.stringify(shipTo));
        for (const field of ["note", "other"] as const)
          if (shipTo[field]?.trim()) expect(kept[field]).toBe(stored[field]);
        if (body.addressState === "unresolved" && shipTo.address?.trim()) expect(kept.address).toBe(stored.address);
        if (kept.name === undefined && shipTo.name?.trim())
          expect([...(body.receiver?.name ?? "")].length).toBeLessThanOrEqual(MAX_NAME_CHARACTERS);
      }),
      { numRuns: 60 },
    );
  });
});

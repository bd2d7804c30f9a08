/**
 * The binary form of an order's record, as orders.lua packs it: attempts (4 bytes), fingerprint (8), steps (2, a bit
 * each), creation time (8), then the order's body as msgpack.
 */
import { Packr, Unpackr } from "msgpackr";
import { ORDER_STEPS, type OrderBody, type OrderStep, type ShipTo } from "./model.js";

const HEADER_BYTES = 22;
const STEPS_AT = 12;
/** Among the steps: the personal data was erased before the warehouse had it. */
const ERASED_BIT = 0x8000;
/** Among the steps: the order's request to the warehouse is a dead letter. No step may have this number. */
export const DEAD_LETTER_MARK = 14;

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** Whether an order has taken a step. */
export type StepTest = (step: OrderStep) => boolean;

/** The current status of an order, from its record; independent of the jobs. */
export interface OrderStatus {
  hasStep: StepTest;
  /** Until the warehouse has the order. */
  shipTo?: ShipTo;
}

export const stepTest =
  (steps: number): StepTest =>
  (step) =>
    (steps & (1 << ORDER_STEPS.indexOf(step))) !== 0;

export const isErased = (steps: number): boolean => (steps & ERASED_BIT) !== 0;

export const stepsOf = (record: Buffer): number => record.readUInt16LE(STEPS_AT);

export const attemptOf = (record: Buffer): number => record.readUInt32LE(0);

export const bodyOf = (record: Buffer): OrderBody => unpackBody(record.subarray(HEADER_BYTES));

export const unpackBody = (bytes: Buffer): OrderBody => unpackr.unpack(bytes) as OrderBody;

export const pack = (value: OrderBody | ShipTo): Buffer => packr.pack(value);

/** @param buyer the order's entry in the day's personal data */
export function statusOf(record: Buffer, buyer: Buffer | null | undefined): OrderStatus {
  const hasStep = stepTest(stepsOf(record));
  if (buyer) return { hasStep, shipTo: unpackr.unpack(buyer) as ShipTo };
  const body = record.subarray(HEADER_BYTES);
  // Only a record of format 1 has it in the body.
  if (!body.includes("shipTo")) return { hasStep };
  const { shipTo } = unpackBody(body);
  return shipTo === undefined ? { hasStep } : { hasStep, shipTo };
}

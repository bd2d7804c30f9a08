/**
 * Options of the ledger and of its shop.
 */
import { defineOptions } from "../kernel/options.js";
import { DEFAULT_BATCH_LIMIT, MAX_BATCH_LIMIT } from "./ledger.js";
import { DEFAULT_ID_RETENTION_DAYS } from "./model.js";

export const stockOptions = defineOptions({
  zone: { type: "string", default: "Asia/Shanghai", about: "the shop's time zone: where its days begin (R8)" },
  idRetentionDays: {
    type: "integer",
    default: DEFAULT_ID_RETENTION_DAYS,
    min: 7,
    max: 400,
    unit: "days",
    about: "how long an id is kept and a repeated command is answered; an older id is refused",
  },
  batchLimit: {
    type: "integer",
    default: DEFAULT_BATCH_LIMIT,
    min: 1,
    max: MAX_BATCH_LIMIT,
    unit: "commands",
    about: "most commands in one ledger call",
  },
});

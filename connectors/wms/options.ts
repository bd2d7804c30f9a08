/**
 * Options of the WMS connection: its address and limits. The token is a secret: it is never printed, and is better
 * given as a variable (SHUIWEI_WMS_TOKEN) than as a flag, which other users of the machine can see.
 */
import { defineOptions } from "../../engine/kernel/options.js";

export const wmsOptions = defineOptions({
  wmsUrl: {
    type: "string",
    pattern: /https?:\/\/[^\s/?#]+[^\s?#]*/,
    expects: "http:// or https:// with a host, such as https://wms.example/api",
    about: "the WMS that orders are sent to; without it none are",
  },
  wmsToken: { type: "string", secret: true, about: "bearer token for the WMS" },
  wmsLimit: {
    type: "integer",
    default: 5_000,
    min: 10,
    max: 1_000_000,
    unit: "requests/s",
    about: "what the WMS takes; all workers together stay below it in every second (R22)",
  },
  wmsInFlight: {
    type: "integer",
    default: 256,
    min: 1,
    max: 4_096,
    unit: "requests",
    about: "requests to the WMS without an answer at most, of all workers together",
  },
  wmsTimeoutMs: {
    type: "duration",
    default: 5_000,
    min: 100,
    max: 60_000,
    about: "how long an answer of the WMS may take",
  },
});

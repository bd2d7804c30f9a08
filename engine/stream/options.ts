/**
 * Options of the runtime: how a deployment is cut into partitions, and how their owners work.
 */
import { defineOptions } from "../kernel/options.js";
import { DEFAULT_PARTITIONS, MAX_PARTITIONS } from "./partition.js";

export const streamOptions = defineOptions({
  partitions: {
    type: "integer",
    default: DEFAULT_PARTITIONS,
    min: 1,
    max: MAX_PARTITIONS,
    unit: "partitions",
    about: "partitions of each topic; fixed when a deployment is created",
  },
  prefix: {
    type: "string",
    default: "shuiwei",
    pattern: /[a-z0-9-]{1,32}/,
    expects: "1 to 32 of a-z 0-9 -",
    about: "begins every Redis key of this deployment",
  },
  leaseMs: {
    type: "duration",
    default: 10_000,
    min: 1_000,
    max: 300_000,
    about: "how long an owner that does not renew its lease keeps its partition",
  },
  tickMs: {
    type: "duration",
    default: 1_000,
    min: 20,
    max: 10_000,
    about: "how often the clock of a partition without commands advances",
  },
  retentionMs: {
    type: "duration",
    default: 3 * 86_400_000,
    min: 0,
    max: 90 * 86_400_000,
    about: "how long the log keeps entries that every job has processed; 0 keeps all",
  },
  paceMs: {
    type: "duration",
    default: 4,
    min: 0,
    max: 1_000,
    about: "how long jobs pause after a small batch, so that the next is larger; 0: no pause",
  },
  emitMaxBytes: {
    type: "integer",
    // Some 200,000 pick requests of 300 bytes: half an hour of a partition's rush.
    default: 64 * 1024 * 1024,
    min: 1024 * 1024,
    max: 4 * 1024 ** 3,
    unit: "bytes",
    about: "emits of a partition that may wait for an outside system; older ones become dead letters",
  },
  emitMaxAgeMs: {
    type: "duration",
    // A long holiday.
    default: 7 * 86_400_000,
    min: 60_000,
    max: 90 * 86_400_000,
    about: "how long an emit may wait for an outside system, before it becomes a dead letter",
  },
  pollMs: { type: "duration", default: 50, min: 5, max: 2_000, about: "how often views read new commits" },
});

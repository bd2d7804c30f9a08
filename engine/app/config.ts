/**
 * What each command takes: the rooms' option tables joined, and the only reader of the environment. Every fault is
 * found before anything starts, and all of them are listed at once.
 */
import { ROLES } from "../../connectors/http/identity.js";
import { httpOptions } from "../../connectors/http/options.js";
import { objectsOptions } from "../../connectors/objects/options.js";
import { wmsOptions } from "../../connectors/wms/options.js";
import {
  defineOptions,
  joinOptions,
  type OptionReading,
  type OptionTable,
  readOptions,
  renderOptions,
} from "../kernel/options.js";
import { orderOptions } from "../orders/options.js";
import { redisOptions } from "../redis/options.js";
import { stockOptions } from "../stock/options.js";
import { streamOptions } from "../stream/options.js";
import { MAX_PARTITIONS } from "../stream/partition.js";
import { intakeOptions } from "./intake.js";
import { loggingOptions } from "./logging.js";

const { partitions, prefix } = streamOptions;
const { batchLimit } = stockOptions;
const { host: _host, ...demoHttp } = httpOptions;
const { redisUrl, dir, appendfsync } = redisOptions;

export const serveOptions = joinOptions(
  httpOptions,
  redisOptions,
  streamOptions,
  stockOptions,
  orderOptions,
  intakeOptions,
  wmsOptions,
  objectsOptions,
  loggingOptions,
  defineOptions({
    roles: {
      type: "list",
      choices: ["api", "worker"],
      default: ["api", "worker"],
      about: "what this process does: api takes commands and serves, worker runs the jobs",
    },
    acceptSettings: {
      type: "boolean",
      about:
        "run the deployment with this process's zone, deadlines and the like from now on; no other process may live",
    },
  }),
);

export const demoOptions = joinOptions(
  { port: demoHttp.port, dir, appendfsync, partitions } satisfies OptionTable,
  loggingOptions,
  defineOptions({
    seed: { type: "integer", default: 618, min: 0, max: 2 ** 31 - 1, about: "the same seed gives the same traffic" },
    speed: { type: "number", default: 60, min: 1, max: 600, unit: "times", about: "how fast the shop's clock runs" },
  }),
);

export const replayOptions = joinOptions(
  { partitions, batchLimit } satisfies OptionTable,
  defineOptions({
    mapping: { type: "string", required: true, about: "how rows are read: a built-in name (online-retail) or a file" },
    openingStock: {
      type: "integer",
      default: 0,
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      unit: "units",
      about: "units received of every SKU when it is first seen",
    },
    zone: { type: "string", default: "Asia/Shanghai", about: "the shop's time zone: where its days begin (R8)" },
    out: { type: "string", required: true, about: "the folder for summary.json, alerts.ndjson and rejected.ndjson" },
    force: { type: "boolean", about: "write over an earlier result in that folder" },
  }),
);

export const benchOptions = defineOptions({
  json: { type: "boolean", about: "one line of JSON at the end instead of a table" },
  runs: {
    type: "integer",
    default: 5,
    min: 1,
    max: 50,
    unit: "runs",
    about: "counted runs of each side, in turn; medians are told",
  },
  minutes: {
    type: "number",
    default: 10,
    min: 0.1,
    max: 1_440,
    unit: "minutes",
    about: "how long soak measures, after its warm-up of about 3 minutes",
  },
  speed: {
    type: "string",
    default: "60",
    pattern: /^(real|[1-9]\d?|1\d\d|200)$/,
    expects: "real, or a whole number of times up to 200",
    about: "618: how fast the hour runs after its first half minute, which is always real",
  },
  out: { type: "string", about: "618: the folder for 618.json and 618.svg" },
  seconds: {
    type: "integer",
    default: 60,
    min: 1,
    max: 3_600,
    unit: "seconds",
    about: "http: how long each side is measured, after a warm-up",
  },
  rate: {
    type: "integer",
    default: 8_200,
    min: 1,
    max: 100_000,
    unit: "a second",
    about: "http: orders, and then commands, that are asked for each second, answered or not",
  },
});

export const auditOptions = joinOptions(
  { redisUrl, dir, prefix } satisfies OptionTable,
  defineOptions({ json: { type: "boolean", about: "one line of JSON instead of text" } }),
);

export const upgradeOptions = joinOptions(
  { redisUrl, dir, prefix } satisfies OptionTable,
  defineOptions({
    finish: {
      type: "boolean",
      about: "write the latest format from now on; refused while a process lives that cannot read it",
    },
    force: { type: "boolean", about: "with --finish: whoever lives" },
    json: { type: "boolean", about: "one line of JSON instead of text" },
  }),
);

export const backupOptions = joinOptions(
  { redisUrl, dir, prefix } satisfies OptionTable,
  defineOptions({
    out: { type: "string", required: true, about: "the folder for the backup; it must be empty or not there" },
  }),
);

export const restoreOptions = joinOptions({ redisUrl, dir } satisfies OptionTable);

export const deadLettersOptions = joinOptions(
  { redisUrl, dir, prefix } satisfies OptionTable,
  defineOptions({
    from: {
      type: "string",
      default: "stock",
      pattern: /(stock|orders)(\/[a-z0-9-]{1,32})?/,
      expects: "a topic (stock, orders), or a sink of one such as orders/wms",
      about: "whose letters: those of a topic's jobs, or of a sink that delivers what they emit",
    },
    partition: { type: "integer", min: 0, max: MAX_PARTITIONS - 1, about: "only letters of this partition" },
    actor: {
      type: "string",
      pattern: /[A-Za-z0-9][A-Za-z0-9._@-]{0,63}/,
      expects: "up to 64 letters, digits, dots, dashes, underscores or @",
      about: "who replays or removes, noted as cli:NAME; left out: the user of this machine",
    },
    job: { type: "string", about: "only letters of this job, for example depletion.1" },
    json: { type: "boolean", about: "one line of JSON a letter" },
    wait: {
      type: "boolean",
      default: true,
      about: "wait until the letters have been tried again; --no-wait only asks",
    },
  }),
);

export const contractOptions = defineOptions({
  contract: {
    type: "string",
    default: "wms-inbound",
    about: "what payloads may have: a known contract (wms-inbound) or a JSON Schema file",
  },
  json: { type: "boolean", about: "one line of JSON instead of a table" },
});

export const tokensOptions = joinOptions(
  { tokensFile: httpOptions.tokensFile } satisfies OptionTable,
  defineOptions({
    role: {
      type: "choice",
      choices: ROLES,
      about: "add: what the token may do; pair: what the browser may, read when left out",
    },
    server: {
      type: "string",
      default: "http://127.0.0.1:8618",
      pattern: /https?:\/\/[^\s/?#@]+/,
      expects: "http:// or https:// with a host, and no path",
      about: "pair, sessions, revoke: the running serve, under the address that browsers use",
    },
    token: {
      type: "string",
      secret: true,
      about: "pair, sessions, revoke: a token of it (operate; admin); better a variable",
    },
    label: { type: "string", about: "pair: what is paired, such as wall-2; the session's name ends with it" },
    days: {
      type: "integer",
      min: 1,
      max: 365,
      unit: "days",
      about: "pair: how long the session lasts; 90 when left out",
    },
    json: { type: "boolean", about: "list, pair, sessions: one line of JSON each" },
  }),
);

/** Every command's options, by its name. */
export const COMMAND_OPTIONS = {
  demo: demoOptions,
  serve: serveOptions,
  replay: replayOptions,
  audit: auditOptions,
  backup: backupOptions,
  restore: restoreOptions,
  upgrade: upgradeOptions,
  tokens: tokensOptions,
  "dead-letters": deadLettersOptions,
  contract: contractOptions,
  bench: benchOptions,
};

/** What a command takes beside options. */
export const OPERANDS: Partial<Record<keyof typeof COMMAND_OPTIONS, string>> = {
  replay: "FILE…",
  tokens: "ACTION [NAME]",
  restore: "FOLDER",
  "dead-letters": "ACTION [ID…]",
  contract: "check FILE",
  bench: "NAME",
};

/** Reads a command's options from its arguments and the environment. */
export function readCommandOptions<Name extends keyof typeof COMMAND_OPTIONS>(
  name: Name,
  args: readonly string[],
): OptionReading<(typeof COMMAND_OPTIONS)[Name]> {
  const operands = OPERANDS[name];
  return readOptions(COMMAND_OPTIONS[name], {
    env: process.env,
    args,
    elsewhere: Object.assign({}, ...Object.values(COMMAND_OPTIONS)) as OptionTable,
    ...(operands === undefined ? {} : { operands }),
  });
}

export const describeOptions = (name: keyof typeof COMMAND_OPTIONS): string => renderOptions(COMMAND_OPTIONS[name]);

/** The environment for a program that is started, with more in it. */
export const environmentWith = (more: Record<string, string>): Record<string, string | undefined> => ({
  ...process.env,
  ...more,
});

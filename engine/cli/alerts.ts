/**
 * `shuiwei alerts`: sends a test message to a person or an endpoint through a running `serve`, prints each step that it
 * really reached (sent, accepted, displayed) with its time, and lists open alerts. A test goes the way of every alert:
 * through the job of notifications, the limits, and the channels. What a channel does not report cannot be printed.
 */
import { setTimeout as pause } from "node:timers/promises";
import { stopwatch } from "../kernel/clock.js";
import { badInput } from "../kernel/errors.js";
import { defineOptions, type OptionValues } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { requestServer, serverOptions } from "./server-request.js";
import { counted, escapeControls, notDone, printLine } from "./text.js";

const OP = "alerts";
const POLL_MS = 500;
/** Addresses above a limit get theirs later than the others: so long after the last news nothing more is awaited. */
const SETTLED_MS = 2_000;
/** Channels that report what a person has seen; of the others `accepted` is the last step. */
const CONFIRMING = ["web-push"];

const alertsOptions = defineOptions({
  ...serverOptions,
  to: {
    type: "string",
    pattern: /(person|endpoint):[a-z0-9][a-z0-9._-]{0,31}/,
    expects: "person:<id> or endpoint:<name>",
    about: "test: who gets the message, for example person:li.wei",
  },
  waitMs: {
    type: "duration",
    default: 60_000,
    min: 1_000,
    max: 600_000,
    about: "test: how long steps are awaited",
  },
  json: { type: "boolean", about: "one line of JSON for each address or alert instead of text" },
});
type Options = OptionValues<typeof alertsOptions>;

export const command = defineCommand({
  name: "alerts",
  about: "alerts for people: send a test to a person or an endpoint, list what is open",
  operands: "ACTION",
  more: `  test        sends a test message to --to by every address, and prints each step that it reached: sent, accepted, displayed
  list        the open alerts: id, severity, state, since when

Status 1: an address has not accepted the test, or there is none.

`,
  options: alertsOptions,
  async run({ values, operands: [action, ...more], signal }) {
    if (action === "list" && more.length === 0) await list(values, signal);
    else if (action === "test" && more.length === 0) await test(values, signal);
    else throw badInput(OP, "ACTION", "must be test or list");
  },
});

/** As `GET /v1/notification-tests/{testId}` returns it. */
interface DeliveryLine {
  channel: string;
  to: string;
  sentAt: string;
  acceptedAt?: string;
  displayedAt?: string;
  failure?: string;
}

const say = (text: string): void => printLine(escapeControls(text));

async function test(options: Options, signal: AbortSignal): Promise<void> {
  const { to, waitMs, json } = options;
  if (to === undefined) throw badInput(OP, "--to", "must be set to person:<id> or endpoint:<name>");
  const sending = {
    body: Buffer.from(JSON.stringify({ to })),
    headers: { "content-type": "application/json" },
  };
  const path = () => "/v1/notification-tests";
  const { testId } = await requestServer(options, { op: OP, path, sending, isOnce: true }, signal);
  if (!json) say(`test ${String(testId)} to ${to}`);
  const reached = new Map<string, Set<string>>();
  const sinceStart = stopwatch();
  let newsMs = 0;
  let deliveries: readonly DeliveryLine[] = [];
  while (sinceStart() < waitMs) {
    deliveries = await deliveriesOf(String(testId), options, signal);
    for (const each of deliveries) if (printNews(each, reached, json)) newsMs = sinceStart();
    if (deliveries.length > 0 && deliveries.every(isOver) && sinceStart() - newsMs >= SETTLED_MS) break;
    await pause(POLL_MS, undefined, { signal });
  }
  if (json) for (const each of deliveries) printLine(JSON.stringify(each));
  if (deliveries.length === 0) throw notDone(OP, `nothing was sent to ${to}: it has no address that can be reached`);
  const missing = deliveries.filter(
    ({ acceptedAt, displayedAt }) => acceptedAt === undefined && displayedAt === undefined,
  );
  if (missing.length > 0)
    throw notDone(OP, `${counted(missing.length, "address", "es")} of ${deliveries.length} did not accept the test`);
}

async function deliveriesOf(testId: string, options: Options, signal: AbortSignal): Promise<readonly DeliveryLine[]> {
  const path = () => `/v1/notification-tests/${encodeURIComponent(testId)}`;
  const { deliveries } = await requestServer(options, { op: OP, path }, signal);
  return (deliveries ?? []) as readonly DeliveryLine[];
}

/** Whether no further step will come. */
const isOver = ({ channel, acceptedAt, displayedAt, failure }: DeliveryLine): boolean =>
  failure !== undefined || displayedAt !== undefined || (acceptedAt !== undefined && !CONFIRMING.includes(channel));

/** Prints the steps that are new, each with the time since it was sent. Returns whether there were any. */
function printNews(delivery: DeliveryLine, reached: Map<string, Set<string>>, isQuiet: boolean): boolean {
  const { channel, to, sentAt, acceptedAt, displayedAt, failure } = delivery;
  const address = `${channel} ${to}`;
  const known = reached.get(address) ?? new Set();
  reached.set(address, known);
  const after = (at: string) => `after ${((Date.parse(at) - Date.parse(sentAt)) / 1_000).toFixed(1)} s`;
  const steps: [string, string][] = [
    ["sent", sentAt],
    ...(acceptedAt === undefined ? [] : [["accepted", after(acceptedAt)] as [string, string]]),
    ...(displayedAt === undefined ? [] : [["displayed", after(displayedAt)] as [string, string]]),
    ...(failure === undefined ? [] : [["failed", failure] as [string, string]]),
  ];
  const news = steps.filter(([step]) => !known.has(step));
  for (const [step, about] of news) {
    known.add(step);
    if (!isQuiet) say(`  ${address.padEnd(32)} ${step.padEnd(9)} ${about}`);
  }
  return news.length > 0;
}

/** As `GET /v1/alerts` returns it. */
interface AlertLine {
  id: string;
  rule: string;
  severity: string;
  state: string;
  firedAt: string;
  acknowledgedBy?: string;
}

async function list(options: Options, signal: AbortSignal): Promise<void> {
  const answer = await requestServer(options, { op: OP, path: () => "/v1/alerts?state=open" }, signal);
  const alerts = answer["alerts"] as readonly AlertLine[];
  for (const each of alerts) {
    const { id, rule, severity, state, firedAt, acknowledgedBy } = each;
    const by = acknowledgedBy === undefined ? "" : ` by ${acknowledgedBy}`;
    if (options.json) printLine(JSON.stringify(each));
    else say(`${severity.padEnd(8)} ${rule.padEnd(16)} ${id.padEnd(32)} since ${firedAt}, ${state}${by}`);
  }
  if (!options.json && alerts.length === 0) printLine("no open alerts");
}

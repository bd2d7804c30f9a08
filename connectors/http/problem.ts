/**
 * Errors as problem details (RFC 9457): one table of codes with their status and title. The code of a business refusal
 * is the ledger's outcome. A fault in the input names its place. An unexpected error becomes a 500 with an instance id
 * only; its cause is reported to the operator under the same id. No stack trace is sent.
 */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";
import { secureBytes } from "../../engine/kernel/random.js";
import type { OrderOutcome } from "../../engine/orders/model.js";
import type { SnapshotRefusalCode } from "../../engine/reconciliation/model.js";
import { faultsOf, type InputFault, MAX_FAULTS } from "./faults.js";

type Refusal = Exclude<OrderOutcome, "accepted" | "admitted_anew" | "cancelled_paid" | "cancelling">;

/** Refusals of the ledger and the order service: status and title. */
const REFUSALS = {
  id_reused: [409, "The id was used with another body before"],
  id_outside_window: [422, "The id's time is outside the window that the ledger remembers"],
  superseded: [409, "A newer attempt for this order has replaced this one"],
  breaker_open: [503, "New orders are refused while the breaker is open"],
  unknown_sku: [404, "The SKU is not known here"],
  unknown_line: [409, "The order was never accepted, or the ledger no longer remembers one of its lines"],
  line_mismatch: [409, "The line was reserved with another SKU, location, pool or units"],
  line_cancelled: [409, "The line has been cancelled"],
  not_paid: [409, "The line is not paid"],
  already_outbound: [409, "The line has been shipped"],
  hold_expired: [409, "The hold has expired and its units are no longer available"],
  insufficient_sellable: [409, "There are not enough sellable units"],
  insufficient_presale: [409, "There are not enough presale units"],
  insufficient_units: [409, "There are not enough units in the pool"],
  order_line: [409, "The line belongs to an order, which is changed as a whole under /v1/orders"],
  limit_exceeded: [409, "The pool would hold more than 9007199254740991 units"],
  balance_changed: [409, "The cell does not hold the expected units"],
  clocks_disagree: [503, "New orders are refused: the clocks of the store and of this server disagree"],
  unknown_order: [404, "The order is not known"],
  cancellation_refused: [409, "The warehouse refuses to release the order"],
  not_cancelling: [409, "No cancellation of the order was requested"],
  whole_order_only: [409, "The warehouse has the order and releases only whole orders"],
} as const satisfies Record<Refusal, readonly [number, string]>;

/** Refusals of a source's report. */
const REPORT_REFUSALS = {
  incomplete: [409, "Not all parts came in time, or a newer snapshot was complete before"],
  part_differs: [409, "The part came twice, with other content"],
  header_differs: [409, "The parts do not state the same about the whole"],
  older: [409, "The source has reported a newer snapshot"],
  too_many_sources: [409, "Too many sources report"],
  row_total: [422, "The number of rows is not the announced one"],
  duplicate_row: [422, "A row comes twice"],
  unknown_location: [422, "The ledger does not have the location"],
  wrong_unit: [422, "The units are no whole number of pieces"],
  future: [422, "The instant lies in the future"],
  clock_skew: [422, "The source's clock is wrong"],
  outside_span: [422, "The time is not in the span"],
  malformed_row: [400, "A row cannot be read"],
  too_many_rows: [413, "There are too many rows"],
  too_many_snapshots: [429, "Too many snapshots are being received"],
} as const satisfies Record<SnapshotRefusalCode, readonly [number, string]>;

const FAULTS = {
  bad_input: [400, "The input is invalid"],
  malformed_body: [400, "The body cannot be read"],
  bad_request: [400, "The request is invalid"],
  unauthorized: [401, "A bearer token is needed"],
  forbidden: [403, "The role does not allow this"],
  forbidden_origin: [403, "Requests from other sites are refused"],
  not_found: [404, "Nothing exists under this path"],
  not_served_here: [404, "This server does not serve the publication"],
  unknown_session: [404, "The session is not known"],
  unknown_alert: [404, "The alert is not known"],
  unknown_person: [404, "The person is not known"],
  unknown_device: [404, "The device is not known"],
  push_not_configured: [404, "Web Push is not configured"],
  unknown_receipt: [404, "The receipt is not known"],
  unknown_silence: [404, "The silence is not known"],
  unknown_comparison: [404, "The comparison is not known"],
  unknown_snapshot: [404, "The snapshot is not kept"],
  unknown_source: [404, "The source is not configured"],
  method_not_allowed: [405, "The method is not allowed here"],
  request_timeout: [408, "The request took too long to arrive"],
  order_on_its_way: [409, "The order is on its way to the warehouse, which needs the address"],
  alert_cleared: [409, "The alert has cleared"],
  too_many_sessions: [409, "There are too many sessions"],
  too_many_people: [409, "There are too many people"],
  too_many_devices: [409, "The person has too many devices"],
  receipt_differs: [409, "The receipt was recorded with another SKU or location"],
  arrival_differs: [409, "The arrival was recorded with other units"],
  too_many_receipts: [409, "There are too many receipts on their way"],
  too_many_arrivals: [409, "The receipt has too many arrivals"],
  not_reachable: [409, "The recipient cannot be reached"],
  too_many_silences: [409, "There are too many silences"],
  settlement_limit: [409, "More would be settled than is allowed"],
  format_too_old: [409, "Not possible before the upgrade of the deployment is finished"],
  differences_removed: [410, "The comparison's differences are not kept any more"],
  outside_retention: [410, "The log of changes does not go back to that instant"],
  body_too_large: [413, "The body is too large"],
  not_reported: [404, "The source has reported no complete snapshot of the SKU"],
  not_covered: [404, "The source has reported no movements"],
  display_measure: [422, "What customers are shown does not follow from movements"],
  too_many_events: [422, "Too many changes of the SKU lie between the snapshots"],
  too_many_entries: [422, "Too many changes lie between that instant and the nearest stored balances"],
  too_many_commands: [413, "There are too many commands in one body"],
  path_too_long: [414, "A part of the path is too long"],
  unsupported_media_type: [415, "The content type is not supported"],
  unsupported_encoding: [415, "The content encoding is not supported"],
  misdirected_request: [421, "This host name is not served"],
  headers_too_large: [431, "The headers or the URL are too long"],
  overloaded: [429, "The server is overloaded"],
  internal_error: [500, "An unexpected error occurred"],
  unavailable: [503, "The store cannot be reached"],
  store_full: [503, "The store is almost full"],
  stale_view: [503, "The stock view is older than allowed"],
  not_ready: [503, "Not ready"],
  stopping: [503, "The server is stopping"],
} as const;

const KINDS = { ...REFUSALS, ...REPORT_REFUSALS, ...FAULTS };
export type ProblemCode = keyof typeof KINDS;

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ProblemCode;
  /** Of an unexpected error: the id under which the operator finds its cause. */
  instance?: string;
  /** The order's or command's id. */
  id?: string;
  errors?: InputFault[];
}

export interface ProblemExtras {
  errors?: InputFault[];
  id?: string;
  headers?: Record<string, string>;
}

const PROBLEM_TYPE = "application/problem+json; charset=utf-8";

/** A problem as an error, where it has to be thrown. */
export class HttpFault extends Error {
  override readonly name = "HttpFault";
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, detail: string, extras: ProblemExtras = {}) {
    super(detail);
    this.problem = problemOf(code, detail, extras);
    this.headers = extras.headers ?? {};
  }
}

export function problemOf(code: ProblemCode, detail: string, { errors, id }: ProblemExtras = {}): Problem {
  const [status, title] = KINDS[code];
  const problem: Problem = { type: `urn:shuiwei:${code}`, title, status, detail, code };
  if (id !== undefined) problem.id = id;
  if (errors !== undefined) problem.errors = errors;
  return problem;
}

/** Bad input: the faults, and a detail that names the first ones. */
export function badInputFault(faults: InputFault[], more = 0): HttpFault {
  const named = faults.slice(0, 3).map(({ field, message }) => (field === "" ? message : `${field} ${message}`));
  const rest = faults.length - named.length + more;
  return new HttpFault("bad_input", named.join("; ") + (rest > 0 ? `; and ${rest} more` : ""), { errors: faults });
}

/** Answers with a problem. Caches do not store it unless the route has set headers that allow it. */
export function sendProblem(
  reply: FastifyReply,
  problem: Problem,
  headers: Readonly<Record<string, string>> = {},
): FastifyReply {
  return reply.code(problem.status).headers(headers).type(PROBLEM_TYPE).send(JSON.stringify(problem));
}

/** Answers a business refusal. */
export const refuse = (
  reply: FastifyReply,
  code: ProblemCode,
  detail: string,
  extras: ProblemExtras = {},
): FastifyReply => sendProblem(reply, problemOf(code, detail, extras), extras.headers);

export const retryAfter = (seconds: number): Record<string, string> => ({
  "retry-after": String(Math.max(1, Math.ceil(seconds))),
});

/** Receives what the client does not get: the instance id and the cause. */
export type Report = OnTrouble;

/** Turns anything thrown into a problem. */
export function faultOf(thrown: unknown, report: Report): HttpFault {
  if (thrown instanceof HttpFault) return thrown;
  if (thrown instanceof EngineError) return engineFault(thrown, report);
  const { code, statusCode, validation } = thrown as { code?: unknown; statusCode?: unknown; validation?: unknown };
  if (Array.isArray(validation)) {
    const faults = faultsOf(validation);
    return badInputFault(faults.slice(0, MAX_FAULTS), Math.max(0, faults.length - MAX_FAULTS));
  }
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new HttpFault("body_too_large", "send a smaller body");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
    case "FST_ERR_CTP_EMPTY_TYPE":
      return new HttpFault(
        "unsupported_media_type",
        "send application/json; bulk commands as application/x-ndjson or application/msgpack; snapshots and movements also as text/csv",
      );
    case "FST_ERR_BAD_URL":
      return new HttpFault("bad_request", "the URL has a broken percent escape");
    case "FST_ERR_MAX_PARAM_LENGTH":
      return new HttpFault("path_too_long", "no id or SKU is that long");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return new HttpFault("malformed_body", "the body's length differs from Content-Length");
  }
  if (statusCode === 404) return new HttpFault("not_found", "no route has this path");
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500)
    return new HttpFault("bad_request", "the request cannot be parsed");
  return unexpected(thrown, report);
}

/** The start of Redis' error for a write, or a function that writes, above `maxmemory`. */
const OUT_OF_MEMORY = /^OOM /;

function engineFault(error: EngineError, report: Report): HttpFault {
  const headers = retryAfter((error.retryAfterMs ?? 1_000) / 1_000);
  if (error.code === "overloaded")
    return new HttpFault(
      "overloaded",
      "the ledger's queue is full; send the request again with the same ids, it is applied once",
      { headers },
    );
  if (OUT_OF_MEMORY.test(messageOf(error.cause ?? error))) {
    report(`${error.op}: Redis has no memory left (maxmemory)`, { code: "store_full" });
    return new HttpFault(
      "store_full",
      "the store has no memory left; send the request again later with the same ids, it is applied once",
      { headers },
    );
  }
  if (error.retryable) {
    report(`${error.op}: ${error.code}: ${messageOf(error.cause ?? error)}`, { code: error.code });
    return new HttpFault(
      "unavailable",
      "it is unknown whether the request was applied; send it again with the same ids, it is applied once",
      { headers },
    );
  }
  if (error.code === "format_too_old") return new HttpFault("format_too_old", error.message);
  if (error.code === "bad_input") return badInputFault([{ field: error.input ?? "", message: error.message }]);
  return unexpected(error, report);
}

function unexpected(thrown: unknown, report: Report): HttpFault {
  const instance = `urn:shuiwei:instance:${secureBytes(8).toString("hex")}`;
  report(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown), { level: "error", instance });
  const fault = new HttpFault("internal_error", "the operator finds the cause under this instance");
  fault.problem.instance = instance;
  return fault;
}

/** What is read and dropped of a body after its answer is known: 4 bodies of 8 MiB. */
const DRAIN_BYTES = 32 * 1024 * 1024;
const DRAIN_MS = 5_000;

/** Reads the rest of a body and drops it; calls back when it has ended, is too long or too slow. */
function drain(raw: IncomingMessage, done: () => void): void {
  let left = DRAIN_BYTES;
  const finish = (): void => {
    clearTimeout(timer);
    raw.off("data", drop).off("end", finish).off("close", finish);
    done();
  };
  const drop = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left < 0) finish();
  };
  const timer = setTimeout(finish, DRAIN_MS);
  if (raw.readableEnded || raw.destroyed) finish();
  else raw.on("data", drop).on("end", finish).on("close", finish).resume();
}

/**
 * Sends a problem while its client still sends the body, and reads on for a while before the connection is closed:
 * closed at once, the system resets the connection, and the client's next write fails before it has read the answer.
 */
function sendDuringBody(reply: FastifyReply, raw: IncomingMessage, problem: Problem): void {
  const bytes = Buffer.from(JSON.stringify(problem));
  const body = new Readable({ read() {} });
  body.push(bytes);
  reply.headers({ connection: "close", "content-length": bytes.length }).type(PROBLEM_TYPE).send(body);
  drain(raw, () => body.push(null));
}

/** Fastify's error handler: sends anything thrown as a problem. */
export const errorHandler =
  (report: Report) =>
  (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const { problem, headers } = faultOf(thrown, report);
    const isStreamed = request.routeOptions.config.streamed === true;
    if (request.raw.complete || !(isStreamed || problem.code === "body_too_large"))
      sendProblem(reply, problem, headers);
    else sendDuringBody(reply.code(problem.status).headers(headers), request.raw, problem);
  };

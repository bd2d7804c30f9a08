/**
 * Every error a client sees, as problem details (RFC 9457): one table of codes with their status and title. A
 * business refusal has the ledger's outcome for its code. A fault in the input names its place. Whatever was not
 * foreseen becomes a 500 that carries an instance id and nothing else; the cause goes to the operator under the same
 * id. No stack trace leaves the process.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import type { OnTrouble } from "../../engine/kernel/logger.js";
import { secureBytes } from "../../engine/kernel/random.js";
import type { OrderOutcome } from "../../engine/orders/model.js";
import { faultsOf, type InputFault, MAX_FAULTS } from "./faults.js";

type Refusal = Exclude<OrderOutcome, "accepted" | "admitted_anew" | "cancelled_paid" | "cancelling">;

/** Refusals of the ledger and the order desk: status and what it means. */
const REFUSALS = {
  id_reused: [409, "The id came with another body before"],
  id_outside_window: [422, "The id's time is outside the window that the ledger remembers"],
  superseded: [409, "A newer try has taken this over"],
  breaker_open: [503, "New orders are refused while the breaker is open"],
  unknown_sku: [404, "The SKU is not known here"],
  unknown_line: [409, "The order was never accepted, or a line of it is not known any more"],
  line_mismatch: [409, "The line was reserved with another SKU, location, pool or units"],
  line_cancelled: [409, "The line has been cancelled"],
  not_paid: [409, "The line is not paid"],
  already_outbound: [409, "The line has gone out"],
  hold_expired: [409, "The hold has expired and its units are gone"],
  insufficient_sellable: [409, "There are not enough sellable units"],
  insufficient_presale: [409, "There are not enough presale units"],
  insufficient_units: [409, "There are not enough units in the pool"],
  order_line: [409, "The line belongs to an order, which is paid, cancelled and sent out as a whole under /v1/orders"],
  limit_exceeded: [409, "The pool would hold more than 9007199254740991 units"],
  clocks_disagree: [503, "New orders are refused: the clocks of the store and of this server disagree"],
  unknown_order: [404, "The order is not known"],
  cancellation_refused: [409, "The warehouse does not let go of the order any more"],
  not_cancelling: [409, "Nobody has asked for the order's cancellation"],
  whole_order_only: [409, "The warehouse has the order, and gives back whole orders only"],
} as const satisfies Record<Refusal, readonly [number, string]>;

const FAULTS = {
  bad_input: [400, "The input is at fault"],
  malformed_body: [400, "The body cannot be read"],
  bad_request: [400, "The request is at fault"],
  unauthorized: [401, "A bearer token is needed"],
  forbidden: [403, "The role is not enough"],
  forbidden_origin: [403, "Requests from other sites are not served"],
  not_found: [404, "There is nothing here"],
  unknown_session: [404, "The session is not known"],
  unknown_alert: [404, "The alert is not known"],
  method_not_allowed: [405, "The method is not allowed here"],
  request_timeout: [408, "The request took too long to arrive"],
  order_on_its_way: [409, "The order is on its way to the warehouse, which needs the address"],
  alert_cleared: [409, "The alert has cleared"],
  too_many_sessions: [409, "There are too many sessions"],
  body_too_large: [413, "The body is too large"],
  too_many_commands: [413, "There are too many commands in one body"],
  path_too_long: [414, "A part of the path is too long"],
  unsupported_media_type: [415, "The content type is not supported"],
  unsupported_encoding: [415, "The content encoding is not supported"],
  misdirected_request: [421, "This host name is not served"],
  headers_too_large: [431, "The headers or the URL are too long"],
  overloaded: [429, "Too much is waiting already"],
  internal_error: [500, "Something went wrong here"],
  unavailable: [503, "The store cannot be reached"],
  store_full: [503, "The store has too little memory left"],
  stale_view: [503, "The stock view is older than allowed"],
  not_ready: [503, "Not ready"],
  stopping: [503, "The server is stopping"],
} as const;

const KINDS = { ...REFUSALS, ...FAULTS };
export type ProblemCode = keyof typeof KINDS;

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ProblemCode;
  /** Of an unexpected error: what the operator finds it by. */
  instance?: string;
  /** The order's or command's id, when one was made here. */
  id?: string;
  errors?: InputFault[];
}

export interface ProblemExtras {
  errors?: InputFault[];
  id?: string;
  headers?: Record<string, string>;
}

export const PROBLEM_TYPE = "application/problem+json; charset=utf-8";

/** A problem on its way to the client; thrown only where Fastify takes nothing else than an error. */
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

/** Bad input: the faults, and a sentence that names them. */
export function badInputFault(faults: InputFault[], more = 0): HttpFault {
  const named = faults.slice(0, 3).map(({ field, message }) => (field === "" ? message : `${field} ${message}`));
  const rest = faults.length - named.length + more;
  return new HttpFault("bad_input", named.join("; ") + (rest > 0 ? `; and ${rest} more` : ""), { errors: faults });
}

/** Answers with a problem. Problems are never stored by a cache unless the route has said so. */
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

/** Told of what a client is not: the instance id and the cause. */
export type Report = OnTrouble;

/** Turns anything thrown on the way into an answer. */
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
      return new HttpFault("body_too_large", "send less at once");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
    case "FST_ERR_CTP_EMPTY_TYPE":
      return new HttpFault(
        "unsupported_media_type",
        "send application/json; bulk takes application/x-ndjson and application/msgpack",
      );
    case "FST_ERR_BAD_URL":
      return new HttpFault("bad_request", "the URL has a broken percent escape");
    case "FST_ERR_MAX_PARAM_LENGTH":
      return new HttpFault("path_too_long", "no id and no SKU is that long");
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return new HttpFault("malformed_body", "the body is not as long as Content-Length says");
  }
  if (statusCode === 404) return new HttpFault("not_found", "nothing is served under this path");
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500)
    return new HttpFault("bad_request", "the request cannot be understood");
  return unexpected(thrown, report);
}

/** How Redis begins its refusal of a write, or of a function that writes, past `maxmemory`. */
const OUT_OF_MEMORY = /^OOM /;

function engineFault(error: EngineError, report: Report): HttpFault {
  const headers = retryAfter((error.retryAfterMs ?? 1_000) / 1_000);
  if (error.code === "overloaded")
    return new HttpFault(
      "overloaded",
      "more waits for the ledger than may; sent again with the same ids the request is applied once",
      { headers },
    );
  if (OUT_OF_MEMORY.test(messageOf(error.cause ?? error))) {
    report(`${error.op}: Redis has no memory left (maxmemory)`, { code: "store_full" });
    return new HttpFault(
      "store_full",
      "the store has no memory left and takes nothing new; sent again later with the same ids the request is applied once",
      { headers },
    );
  }
  if (error.retryable) {
    report(`${error.op}: ${error.code}: ${messageOf(error.cause ?? error)}`, { code: error.code });
    return new HttpFault(
      "unavailable",
      "whether the request was applied is not known; sent again with the same ids it is applied once",
      { headers },
    );
  }
  if (error.code === "bad_input") return badInputFault([{ field: error.input ?? "", message: error.message }]);
  return unexpected(error, report);
}

function unexpected(thrown: unknown, report: Report): HttpFault {
  const instance = `urn:shuiwei:instance:${secureBytes(8).toString("hex")}`;
  report(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown), { level: "error", instance });
  const fault = new HttpFault("internal_error", "the operator finds the cause under the instance");
  fault.problem.instance = instance;
  return fault;
}

/**
 * What is read and thrown away of a body that is too large, so that its sender lives to see the answer: 4 bodies of 8
 * MiB.
 */
const DRAIN_BYTES = 32 * 1024 * 1024;
const DRAIN_MS = 5_000;

/** Reads the rest of a body and drops it; calls back when it is over, too long or too slow. */
function drain(raw: IncomingMessage, done: () => void): void {
  let left = DRAIN_BYTES;
  const finish = (): void => {
    clearTimeout(timer);
    raw.off("data", take).off("end", finish).off("close", finish);
    done();
  };
  const take = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left < 0) finish();
  };
  const timer = setTimeout(finish, DRAIN_MS);
  if (raw.readableEnded || raw.destroyed || Number(raw.headers["content-length"] ?? 0) > DRAIN_BYTES) finish();
  else raw.on("data", take).on("end", finish).on("close", finish).resume();
}

/** Fastify's error handler: sends the problem that anything thrown amounts to. */
export const errorHandler =
  (report: Report) =>
  (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const { problem, headers } = faultOf(thrown, report);
    const send = (): void => {
      if (!reply.sent) sendProblem(reply, problem, headers);
    };
    if (problem.code === "body_too_large") drain(request.raw, send);
    else send();
  };

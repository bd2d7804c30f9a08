/**
 * What routes that read the past share: instants in a query, reading that ends when the client leaves, and the refusals
 * of a log that does not go back so far. Reading the past takes up to some seconds, so each such route has a limit of
 * its own.
 */
import type { FastifyReply } from "fastify";
import { instantOf } from "../../engine/kernel/instant.js";
import type { AsOfRefusal } from "../../engine/stock/log-instant.js";
import { badInputFault, HttpFault, refuse } from "./problem.js";
import { isoOf } from "./route-context.js";
import { fromStore } from "./store-errors.js";

/** An instant of the query, in milliseconds since the epoch. @param field its name there */
export function queriedInstant(text: string, field: string): number {
  const atMs = instantOf(text);
  if (atMs === undefined)
    throw badInputFault([{ field, message: "must be an instant like 2026-06-18T20:00:00+08:00" }]);
  return atMs;
}

/** Reads until it is done or the client has left: its place in the limit is free then, and nothing more is read. */
export async function readWhileConnected<T>(
  op: string,
  reply: FastifyReply,
  read: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const left = new AbortController();
  reply.raw.once("close", () => left.abort());
  return fromStore(op, read(left.signal)).catch((thrown: unknown) => {
    // The client has left and reads no answer; as a fault of Redis this would be reported.
    throw left.signal.aborted ? new HttpFault("request_timeout", "the client has left") : thrown;
  });
}

export const refusePast = (reply: FastifyReply, refusal: AsOfRefusal): FastifyReply =>
  refuse(reply, refusal.outcome, pastRefusalText(refusal));

export const pastRefusalText = (refusal: AsOfRefusal): string =>
  refusal.outcome === "outside_retention"
    ? `the log of this SKU begins at ${isoOf(refusal.fromMs)}`
    : `${refusal.entries} entries of the log would have to be read; at most ${refusal.limit} are`;

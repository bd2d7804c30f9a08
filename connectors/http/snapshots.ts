/**
 * Snapshots and movements of sources over HTTP (R13, R15): a part streams in and is stored while it is read, whatever
 * its size. A part that cannot be read to its end (a client that leaves or stops, a broken transfer) leaves nothing and
 * may be sent again; one whose content is wrong refuses its whole report, and the answer names the row. What is kept of
 * each report is listed with its progress or its reason.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { badInput } from "../../engine/kernel/errors.js";
import { instantOf } from "../../engine/kernel/instant.js";
import {
  type MovementRecord,
  PUBLISHED,
  type SnapshotRecord,
  type SnapshotRefusal,
} from "../../engine/reconciliation/model.js";
import { type MovementOutcome, MovementPartWriter } from "../../engine/reconciliation/reports/movement-store.js";
import { type PartOutcome, SnapshotPartWriter } from "../../engine/reconciliation/reports/snapshot-store.js";
import { ConcurrencyLimit } from "./admission.js";
import { queriedInstant } from "./past.js";
import { HttpFault, refuse } from "./problem.js";
import { isoOf, queryWith, type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { ROW_TYPES, type RowType, rowReader } from "./rows/row-formats.js";
import { MAX_ROW_BYTES, type Row } from "./rows/row-reader.js";
import { problems } from "./schemas/problem.js";
import {
  MovementList,
  MovementQuery,
  MovementRow,
  PartAnswer,
  SnapshotAnswer,
  SnapshotList,
  SnapshotParams,
  SnapshotQuery,
  SnapshotRow,
  SourceParams,
} from "./schemas/snapshots.js";
import { fromStore } from "./store-errors.js";
import { hasLeft, MAX_STREAMED_BYTES, StreamedBody, streamBodies } from "./streamed-body.js";

/** Parts that are read concurrently: each has a chunk of 4,096 rows for each partition in memory. */
const MAX_STREAMED_REQUESTS = 8;
/** A header and some empty lines. */
const OTHER_BYTES = 64 * 1024;
const SNAPSHOT_COLUMNS = ["sku", "location", "units"];
const MOVEMENT_COLUMNS = ["id", "sku", "location", "units", "at"];

/** What takes the rows of a part, of either kind. */
interface Writer<Outcome> {
  readonly count: number;
  readonly isFull: boolean;
  drain(): Promise<void>;
  end(): Promise<Outcome>;
  refuse(refusal: SnapshotRefusal): Promise<Outcome>;
  malformed(message: string): SnapshotRefusal;
  abort(): Promise<void>;
}

/** The header of a part, from the query. */
interface PartQuery {
  id: string;
  rows: number;
  part?: number;
  parts?: number;
  sentAt?: string;
}

const partOf = ({ id, rows, part = 1, parts = 1, sentAt }: PartQuery) => ({
  ...{ id, rows, part, parts },
  ...(sentAt === undefined ? {} : { sentAtMs: queriedInstant(sentAt, "sentAt") }),
});

export const snapshotRoutes: RouteGroup = (root, context) => {
  listRoutes(root, context);
  // A scope of its own: no other route accepts these content types, or bodies that stream.
  root.register(async (server) => {
    // JSON, too: it would be read as a whole.
    server.removeAllContentTypeParsers();
    streamBodies(server, ROW_TYPES);
    const streamed = new ConcurrencyLimit(MAX_STREAMED_REQUESTS, "streamed bodies");
    snapshotPartRoute(server, context, streamed);
    movementPartRoute(server, context, streamed);
  });
};

/** What both routes have: who may send, what the body is, how the query is read. */
function partRoute(server: FastifyInstance, { authorize }: RouteContext, streamed: ConcurrencyLimit) {
  return {
    config: { streamed: true, ownLimit: true },
    onRequest: [authorize("operate"), streamed.guard],
    bodyLimit: MAX_STREAMED_BYTES,
    preValidation: queryWith("rows", "part", "parts"),
    // The body is checked row by row; its schema is only for the documentation.
    validatorCompiler: (part: { schema: unknown; httpPart?: string }) => {
      if (part.httpPart === "body") return () => true;
      let validate: ((value: unknown) => unknown) & { errors?: unknown };
      return (value: unknown) => {
        validate ??= server.validatorCompiler?.(part as never) as typeof validate;
        return validate(value) === true ? { value } : { error: validate.errors as never };
      };
    },
  };
}

const bodySchema = (row: unknown) => ({
  content: Object.fromEntries(
    ROW_TYPES.map((type) => [type, { schema: type === "text/csv" ? { type: "string" as const } : row }]),
  ),
});

const FORMATS =
  "The body streams: NDJSON with one object a line, CSV with a header, or msgpack lists or maps one after the other; each also with `content-encoding: gzip`. At most 512 MiB inflated, and nothing for 30 s ends it (408). A part may be sent again: the same rows get the same answer, others refuse the whole report (`part_differs`). A transfer that breaks off leaves nothing.";

function snapshotPartRoute(server: FastifyInstance, context: RouteContext, streamed: ConcurrencyLimit): void {
  server.post<{ Params: Static<typeof SourceParams>; Querystring: Static<typeof SnapshotQuery> }>(
    "/v1/snapshots/:source",
    {
      ...partRoute(server, context, streamed),
      schema: {
        tags: ["reconciliation"],
        operationId: "recordSnapshotPart",
        summary: "Receives a part of a source's snapshot",
        description: `Units by SKU and location as of an instant, in numbered parts. 202: the part is stored; 200: it was the last one, and the snapshot is complete. A snapshot with wrong content is refused as a whole, and needs a new id. \`sentAt\` is the source's clock when it sends: its skew is measured, and \`asOf\` corrected by it. ${FORMATS}`,
        security: TOKEN_NEEDED,
        params: SourceParams,
        querystring: SnapshotQuery,
        body: bodySchema(SnapshotRow),
        response: { 200: PartAnswer, 202: PartAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const source = reportingSource(request.params);
      const { query } = request;
      const body = bodyOf(request);
      const part = partOf(query);
      const { measure, asOf, unit } = query;
      const header = {
        source,
        ...part,
        measure,
        asOfMs: queriedInstant(asOf, "asOf"),
        ...(unit === undefined ? {} : { unit }),
      };
      const opened = await fromStore("snapshots.receive", context.deps.snapshots.receive(header));
      if (!(opened instanceof SnapshotPartWriter)) return answerPart(reply, { source, ...part }, opened, 0);
      const outcome = await readRows(
        request,
        { body, columns: SNAPSHOT_COLUMNS, rows: query.rows, writer: opened },
        ([sku, location, units]) => opened.add(sku, location, units),
      );
      return answerPart(reply, { source, ...part }, outcome, opened.count);
    },
  );
}

function movementPartRoute(server: FastifyInstance, context: RouteContext, streamed: ConcurrencyLimit): void {
  server.post<{ Params: Static<typeof SourceParams>; Querystring: Static<typeof MovementQuery> }>(
    "/v1/movements/:source",
    {
      ...partRoute(server, context, streamed),
      schema: {
        tags: ["reconciliation"],
        operationId: "recordMovementPart",
        summary: "Receives a part of the movements that a source has booked in a span of time",
        description: `Each movement has the source's id, SKU, location, signed units and its time, from \`from\` up to and without \`to\`. Spans may overlap; a movement counts once. ${FORMATS}`,
        security: TOKEN_NEEDED,
        params: SourceParams,
        querystring: MovementQuery,
        body: bodySchema(MovementRow),
        response: { 200: PartAnswer, 202: PartAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const source = reportingSource(request.params);
      const { query } = request;
      const body = bodyOf(request);
      const part = partOf(query);
      const header = {
        source,
        ...part,
        fromMs: queriedInstant(query.from, "from"),
        toMs: queriedInstant(query.to, "to"),
      };
      const opened = await fromStore("movements.receive", context.deps.movements.receive(header));
      if (!(opened instanceof MovementPartWriter)) return answerPart(reply, { source, ...part }, opened, 0);
      const outcome = await readRows(
        request,
        { body, columns: MOVEMENT_COLUMNS, rows: query.rows, writer: opened },
        ([id, sku, location, units, at]) => opened.add(id, sku, location, units, timeOf(at)),
      );
      return answerPart(reply, { source, ...part }, outcome, opened.count);
    },
  );
}

/** @throws EngineError `bad_input` for the name under which the engine reports what it has published itself */
function reportingSource({ source }: Static<typeof SourceParams>): string {
  if (source === PUBLISHED) throw badInput("reconciliation.receive", "source", `"${PUBLISHED}" is the engine's own`);
  return source;
}

/** A movement's time in ms; what is no instant is none. */
function timeOf(at: unknown): unknown {
  if (typeof at !== "string") return at;
  return /^\d{12,15}$/.test(at) ? Number(at) : instantOf(at);
}

/** The body of a part; checked before anything is begun. */
function bodyOf({ body }: FastifyRequest): StreamedBody {
  if (body instanceof StreamedBody) return body;
  throw new HttpFault("unsupported_media_type", `send rows as ${ROW_TYPES.slice(0, 3).join(", ")}`);
}

/** Reads a body to its end, or to the first row that is wrong. Whatever fails, nothing of the part is left. */
async function readRows<Outcome>(
  request: FastifyRequest,
  {
    body,
    columns,
    rows,
    writer,
  }: { body: StreamedBody; columns: readonly string[]; rows: number; writer: Writer<Outcome> },
  add: (row: Row) => SnapshotRefusal | undefined,
): Promise<Outcome> {
  const type = (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() as RowType;
  const reader = rowReader(type, columns);
  // No more than the announced rows can have, so that a body which inflates without end costs nothing.
  const maxBytes = OTHER_BYTES + rows * MAX_ROW_BYTES;
  let refusal: SnapshotRefusal | undefined;
  const take = (row: Row): boolean => {
    refusal = add(row);
    return refusal === undefined;
  };
  try {
    for await (const piece of body.pieces(request, maxBytes)) {
      const fault = reader.push(piece, take);
      refusal ??= fault === undefined ? undefined : writer.malformed(fault);
      if (refusal) return await writer.refuse(refusal);
      // The store may be slower than the client: then the client waits.
      if (writer.isFull) await writer.drain();
      await nextTurn();
    }
    const fault = reader.end(take);
    refusal ??= fault === undefined ? undefined : writer.malformed(fault);
    return await (refusal ? writer.refuse(refusal) : writer.end());
  } catch (thrown) {
    await writer.abort();
    if (hasLeft(request)) throw new HttpFault("request_timeout", "the client has left");
    throw thrown;
  }
}

function answerPart(
  reply: FastifyReply,
  { source, id, part, parts }: { source: string; id: string; part: number; parts: number },
  outcome: PartOutcome | MovementOutcome,
  rows: number,
): FastifyReply {
  if (outcome.outcome === "refused") throw partFault(outcome.refusal);
  const partsReceived = outcome.outcome === "received" ? outcome.partsReceived : parts;
  return reply
    .code(outcome.outcome === "received" ? 202 : 200)
    .send({ outcome: outcome.outcome, source, id, part, parts, partsReceived, rows });
}

function partFault({ code, message, row }: SnapshotRefusal): HttpFault {
  return new HttpFault(code, message, {
    ...(row === undefined ? {} : { errors: [{ field: `row ${row}`, message }] }),
    ...(code === "too_many_snapshots" ? { headers: { "retry-after": "60" } } : {}),
  });
}

function listRoutes(server: FastifyInstance, { deps, authorize }: RouteContext): void {
  const read = { onRequest: authorize("read") };
  server.get(
    "/v1/snapshots",
    {
      ...read,
      schema: {
        tags: ["reconciliation"],
        operationId: "listSnapshots",
        summary: "The snapshots of all sources that are kept, the newest instant first",
        description: "Also those that are being received, with their progress, and refused ones with the reason.",
        security: TOKEN_NEEDED,
        response: { 200: SnapshotList, ...problems },
      },
    },
    async () => ({ snapshots: (await fromStore("snapshots.list", deps.snapshots.list())).map(snapshotAnswer) }),
  );
  server.get<{ Params: Static<typeof SnapshotParams> }>(
    "/v1/snapshots/:source/:id",
    {
      ...read,
      schema: {
        tags: ["reconciliation"],
        operationId: "getSnapshot",
        summary: "One snapshot: its progress, or how it ended",
        description: "Snapshots are kept for some days, the newest of each source.",
        security: TOKEN_NEEDED,
        params: SnapshotParams,
        response: { 200: SnapshotAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { source, id } = request.params;
      const record = await fromStore("snapshots.find", deps.snapshots.find(source, id));
      return record ? snapshotAnswer(record) : refuse(reply, "unknown_snapshot", "no snapshot with this id is kept");
    },
  );
  server.get(
    "/v1/movements",
    {
      ...read,
      schema: {
        tags: ["reconciliation"],
        operationId: "listMovements",
        summary: "The batches of movements that are kept, the latest span first",
        description: "Also those that are being received, and refused ones with the reason. They are kept for 8 days.",
        security: TOKEN_NEEDED,
        response: { 200: MovementList, ...problems },
      },
    },
    async () => ({ movements: (await fromStore("movements.list", deps.movements.list())).map(movementAnswer) }),
  );
}

function keptAnswer(record: SnapshotRecord | MovementRecord) {
  const { source, id, state, parts, partsReceived, rows, rowsReceived, receivedMs, endedMs, skewMs, refusal } = record;
  return {
    ...{ source, id, state, parts, partsReceived, rows, rowsReceived, received: isoOf(receivedMs) },
    ...(endedMs === undefined ? {} : { ended: isoOf(endedMs) }),
    ...(skewMs === undefined ? {} : { skewMs }),
    ...(refusal === undefined ? {} : { refusal }),
  };
}

const snapshotAnswer = (record: SnapshotRecord) => ({
  ...keptAnswer(record),
  measure: record.measure,
  asOf: isoOf(record.asOfMs),
  statedAsOf: isoOf(record.statedAsOfMs),
});

const movementAnswer = (record: MovementRecord) => ({
  ...keptAnswer(record),
  from: isoOf(record.fromMs),
  to: isoOf(record.toMs),
});

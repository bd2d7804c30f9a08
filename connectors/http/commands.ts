/**
 * Many stock commands in one request. All are checked before the first is applied. Then each command is applied
 * independently, and the outcomes are returned in the order and the format of the commands. A refusal of one does not
 * undo the others. When the store fails (503), the same body sent again applies the missing commands, once.
 */
import type { FastifyRequest } from "fastify";
import { Packr } from "msgpackr";
import { CHAIN_ID_LENGTH, chainIdFault } from "../../engine/kernel/chain-id.js";
import type { Reply, StockCommand } from "../../engine/stock/model.js";
import { assertAcceptsNewWork } from "./admission.js";
import { BULK_LIMIT, type CommandCheck, MAX_COMMANDS, readCommands } from "./bulk.js";
import type { HttpDeps } from "./deps.js";
import { faultsOf, type InputFault } from "./faults.js";
import { causeOf, identityOf, mayDo, roleFault } from "./identity.js";
import { HttpFault } from "./problem.js";
import { type RouteContext, type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { anyCommand, CommandReply, commandSchemas, type OpenKind } from "./schemas/commands.js";
import { problems } from "./schemas/problem.js";
import { fromStore } from "./store-errors.js";

const NDJSON = "application/x-ndjson";
const MSGPACK = ["application/msgpack", "application/x-msgpack"];
/** Clocks of two machines may differ by this much; a time further ahead is a mistake. */
const CLOCK_SKEW_MS = 60_000;

/** Each is 8 MiB, and about four times that as commands and answers: 320 MiB. */
export const MAX_BULK_REQUESTS = 8;
/** Commands that continue earlier work; accepted also while new work is refused. */
const CONTINUING_KINDS: ReadonlySet<StockCommand["kind"]> = new Set(["pay", "cancel", "outbound"]);

/** Commands that the role `order` may send; the others need `operate`. */
const ORDER_KINDS: ReadonlySet<StockCommand["kind"]> = new Set(["reserve", "pay", "cancel", "outbound"]);

const packr = new Packr({ useRecords: false });

type Validate = ((value: unknown) => boolean) & { errors?: readonly unknown[] | null };

/** A body of bulk commands, not parsed yet. */
class BulkBody {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

export const commandRoutes: RouteGroup = (root, context) => {
  // A scope of its own: no other route accepts these content types.
  root.register(async (server) => {
    server.addContentTypeParser(
      [NDJSON, ...MSGPACK],
      { parseAs: "buffer", bodyLimit: BULK_LIMIT },
      (_request, bytes, done) => {
        done(null, new BulkBody(bytes as Buffer));
      },
    );
    const AnyCommand = anyCommand(context.deps.skuSettings);
    let check: CommandCheck | undefined;

    server.post(
      "/v1/commands",
      {
        onRequest: [context.authorize("order"), context.limits.bulk.guard],
        bodyLimit: BULK_LIMIT,
        // The body is checked command by command; the schema is only for the documentation.
        validatorCompiler: () => () => true,
        schema: {
          tags: ["stock"],
          operationId: "applyCommands",
          summary: "Applies many stock commands",
          description: `One command in each text line (${NDJSON}) or a list of commands (${MSGPACK[0]}); at most ${MAX_COMMANDS} commands and 8 MiB. When any command is invalid, nothing is applied (400, naming the text lines). Outcomes are returned in order, in the format of the commands. Commands of one SKU are applied in the order given. Lines of an order that was placed under /v1/orders are refused (order_line). Reserve, pay, cancel and outbound need the role order, the others operate. The actor is the token's owner; a command's actor is kept as onBehalfOf. While the engine is behind or its store nearly full, only bodies with nothing but pay, cancel and outbound are accepted.`,
          security: TOKEN_NEEDED,
          body: {
            content: {
              [NDJSON]: { schema: AnyCommand },
              ...Object.fromEntries(MSGPACK.map((type) => [type, { schema: { type: "array", items: AnyCommand } }])),
            },
          },
          response: {
            200: {
              description: "Outcomes in order",
              content: {
                [NDJSON]: { schema: CommandReply },
                ...Object.fromEntries(
                  MSGPACK.map((type) => [type, { schema: { type: "array", items: CommandReply } }]),
                ),
              },
            },
            ...problems,
          },
        },
        serializerCompiler: () => String,
      },
      async (request, reply) => {
        const { body } = request;
        if (!(body instanceof BulkBody))
          throw new HttpFault("unsupported_media_type", `send ${[NDJSON, ...MSGPACK].join(" or ")}`);
        check ??= commandCheck(request, context);
        const type = (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
        const binary = MSGPACK.includes(type);
        const commands = await readCommands(body.bytes, binary ? "msgpack" : "ndjson", check);
        const identity = identityOf(request);
        const first = mayDo(identity, "operate") ? undefined : commands.find(({ kind }) => !ORDER_KINDS.has(kind));
        if (first) throw new HttpFault("forbidden", roleFault(identity, "operate", `the command ${first.kind}`));
        for (const command of commands) Object.assign(command, causeOf(request, command));
        if (commands.some(({ kind }) => !CONTINUING_KINDS.has(kind))) assertAcceptsNewWork(context.deps);
        const replies = await applyMany(context.deps, commands);
        const answers = replies.map(({ outcome, repeated, state, missingUnits }, i) => ({
          id: (commands[i] as StockCommand).id,
          outcome,
          repeated,
          state,
          ...(missingUnits !== undefined && { missingUnits }),
        }));
        reply.type(type);
        if (binary) return reply.send(packr.pack(answers));
        let lines = "";
        for (const answer of answers) lines += `${JSON.stringify(answer)}\n`;
        return reply.send(lines);
      },
    );
  });
};

/** The order that a command's id may be a line of. */
const orderOf = ({ kind, id }: StockCommand): string | undefined =>
  ORDER_KINDS.has(kind) && id.length > CHAIN_ID_LENGTH ? id.slice(0, CHAIN_ID_LENGTH) : undefined;

/** Applies the commands, but refuses those about lines of orders that the order service has. */
async function applyMany({ ledger, orderService }: HttpDeps, commands: readonly StockCommand[]): Promise<Reply[]> {
  const named = new Set<string>();
  for (const command of commands) {
    const order = orderOf(command);
    if (order !== undefined) named.add(order);
  }
  const orders = await fromStore("commands.orders", orderService.knownOrders(named));
  if (orders.size === 0) return ledger.applyMany(commands);
  const others: StockCommand[] = [];
  const lines: StockCommand[] = [];
  const isRefused = commands.map((command) => orders.has(orderOf(command) ?? ""));
  for (const [i, command] of commands.entries()) (isRefused[i] ? lines : others).push(command);
  const [applied, known] = await Promise.all([
    ledger.applyMany(others),
    fromStore("commands.lines", ledger.recall(lines)),
  ]);
  let [nextApplied, nextKnown] = [0, 0];
  return isRefused.map((refused) =>
    refused
      ? { outcome: "order_line", repeated: false, state: known[nextKnown++]?.state ?? "none" }
      : (applied[nextApplied++] as Reply),
  );
}

/** The check of one command: its kind's schema, then what a schema cannot check. */
function commandCheck(request: FastifyRequest, { deps, defaultLocation }: RouteContext): CommandCheck {
  const compile = request.server.validatorCompiler;
  if (compile === undefined) throw new Error("the server has no validator");
  const schemas = commandSchemas(deps.skuSettings);
  const validators = new Map<unknown, Validate>(
    Object.entries(schemas).map(([kind, schema]) => [
      kind,
      compile({ schema, method: "POST", url: "/v1/commands", httpPart: "body" }) as Validate,
    ]),
  );
  const kinds = Object.keys(schemas).join(", ");

  return (candidate) => {
    if (typeof candidate !== "object" || candidate === null || Array.isArray(candidate)) {
      return { faults: [{ field: "", message: "must be an object" }] };
    }
    const { kind } = candidate as { kind?: unknown };
    const validate = validators.get(kind);
    if (!validate)
      return { faults: [{ field: "kind", message: kind === undefined ? "is missing" : `must be one of ${kinds}` }] };
    if (!validate(candidate)) return { faults: faultsOf(validate.errors ?? []) };
    const given = candidate as StockCommand & { kind: OpenKind };
    const command = (given.location === undefined ? { ...given, location: defaultLocation } : given) as StockCommand;
    const faults = semanticFaults(command, deps.clock.now());
    return faults.length > 0 ? { faults } : { command };
  };
}

function semanticFaults(command: StockCommand, nowMs: number): InputFault[] {
  const faults: InputFault[] = [];
  const idFault = chainIdFault(command.id);
  if (idFault !== undefined) faults.push({ field: "id", message: idFault });
  if (command.atMs !== undefined && command.atMs > nowMs + CLOCK_SKEW_MS)
    faults.push({ field: "atMs", message: "is in the future" });
  if (command.kind === "move") {
    const { from, to, location, toLocation } = command;
    if (toLocation === undefined) {
      if (from === to) faults.push({ field: "to", message: "must differ from 'from'" });
    } else {
      if (toLocation === location) faults.push({ field: "toLocation", message: "must differ from location" });
      if (from !== "sellable" || to !== "sellable")
        faults.push({ field: "toLocation", message: "is allowed only with from and to sellable" });
    }
  }
  return faults;
}

/**
 * Many stock commands in one request. Everything is checked before the first is applied; then each command stands for
 * itself, as it would alone, and the outcomes come back in the order and the format of the commands. A refusal of one
 * does not undo the others. When the request fails on its way through the store (503), the same body sent again
 * applies what is missing, once.
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
import { AnyCommand, CommandReply, CommandSchemas, type OpenKind, problems } from "./schemas.js";
import { fromStore } from "./store-errors.js";

const NDJSON = "application/x-ndjson";
const MSGPACK = ["application/msgpack", "application/x-msgpack"];
/** Clocks of two machines may differ by this much; a time further ahead is a mistake. */
const CLOCK_SKEW_MS = 60_000;

/** Each is 8 MiB, and about four times that as commands and answers: 320 MiB. */
export const MAX_BODIES = 8;
/** What ends something that was created is taken also while nothing new is. */
const ENDING: ReadonlySet<StockCommand["kind"]> = new Set(["pay", "cancel", "outbound"]);

/** What the role `order` may do; the other kinds need `operate`. */
const ORDER_WORK: ReadonlySet<StockCommand["kind"]> = new Set(["reserve", "pay", "cancel", "outbound"]);

const packr = new Packr({ useRecords: false });

type Validate = ((value: unknown) => boolean) & { errors?: readonly unknown[] | null };

/** A body of bulk commands as it came. */
class BulkBody {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

export const commandRoutes: RouteGroup = (root, context) => {
  // A scope of its own: nothing else takes these content types.
  root.register(async (server) => {
    server.addContentTypeParser(
      [NDJSON, ...MSGPACK],
      { parseAs: "buffer", bodyLimit: BULK_LIMIT },
      (_request, bytes, done) => {
        done(null, new BulkBody(bytes as Buffer));
      },
    );
    let check: CommandCheck | undefined;

    server.post(
      "/v1/commands",
      {
        onRequest: [context.authorize("order"), context.limits.bulk.guard],
        bodyLimit: BULK_LIMIT,
        // The body is checked command by command; the schema is for the reader of the documentation.
        validatorCompiler: () => () => true,
        schema: {
          tags: ["stock"],
          operationId: "applyCommands",
          summary: "Applies many stock commands",
          description: `One command a line (${NDJSON}) or a list of commands (${MSGPACK[0]}); at most ${MAX_COMMANDS} commands and 8 MiB. Any fault in any command: nothing is applied (400, naming the lines). Outcomes come in order, in the format of the commands. Commands of one SKU are applied in the order given. Lines of an order that was placed under /v1/orders are refused (order_line). Reserve, pay, cancel and outbound need the role order, the others operate. A body's actor is kept as onBehalfOf: the actor is whoever the token belongs to. While the engine is behind or its store nearly full, only bodies of pay, cancel and outbound alone are taken.`,
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
        const first = mayDo(identity, "operate") ? undefined : commands.find(({ kind }) => !ORDER_WORK.has(kind));
        if (first) throw new HttpFault("forbidden", roleFault(identity, "operate", `the command ${first.kind}`));
        for (const command of commands) Object.assign(command, causeOf(request, command));
        if (commands.some(({ kind }) => !ENDING.has(kind))) assertAcceptsNewWork(context.deps);
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
  ORDER_WORK.has(kind) && id.length > CHAIN_ID_LENGTH ? id.slice(0, CHAIN_ID_LENGTH) : undefined;

/** Applies the commands that are not about lines of the order desk's orders, and refuses the others. */
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

/** The check of one command: its kind's schema, and what a schema cannot say. */
function commandCheck(request: FastifyRequest, { deps, defaultLocation }: RouteContext): CommandCheck {
  const compile = request.server.validatorCompiler;
  if (compile === undefined) throw new Error("the server has no validator");
  const validators = new Map<unknown, Validate>(
    Object.entries(CommandSchemas).map(([kind, schema]) => [
      kind,
      compile({ schema, method: "POST", url: "/v1/commands", httpPart: "body" }) as Validate,
    ]),
  );
  const kinds = Object.keys(CommandSchemas).join(", ");

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
    const faults = faultsOfMeaning(command, deps.clock.now());
    return faults.length > 0 ? { faults } : { command };
  };
}

function faultsOfMeaning(command: StockCommand, nowMs: number): InputFault[] {
  const faults: InputFault[] = [];
  const idFault = chainIdFault(command.id);
  if (idFault !== undefined) faults.push({ field: "id", message: idFault });
  if (command.atMs !== undefined && command.atMs > nowMs + CLOCK_SKEW_MS)
    faults.push({ field: "atMs", message: "lies in the future" });
  if (command.kind === "move") {
    const { from, to, location, toLocation } = command;
    if (toLocation === undefined) {
      if (from === to) faults.push({ field: "to", message: "is the pool that the units come from" });
    } else {
      if (toLocation === location) faults.push({ field: "toLocation", message: "is where the units are" });
      if (from !== "sellable" || to !== "sellable")
        faults.push({ field: "toLocation", message: "goes with from and to sellable only" });
    }
  }
  return faults;
}

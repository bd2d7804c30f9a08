/**
 * `shuiwei tokens`: adds and removes tokens in a file of hashes, which a running `serve` reads again by itself, and
 * pairs browsers and ends their sessions by requests to a running `serve`. A new secret is printed once and stored
 * nowhere.
 */
import { isRole, NAME_PATTERN, ROLES, type Role } from "../../connectors/http/identity.js";
import { httpOptions } from "../../connectors/http/options.js";
import { changeTokenFile, makeToken, readTokenFile } from "../../connectors/http/token-file.js";
import { badInput, messageOf } from "../kernel/errors.js";
import { defineOptions, joinOptions, type OptionValues } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { notDone, printLine } from "./text.js";

const OP = "tokens";
const REQUEST_MS = 10_000;
const LOOPBACK = /^(localhost|127\.|\[::1\])/;

const tokensOptions = joinOptions(
  { tokensFile: httpOptions.tokensFile },
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

type Options = OptionValues<typeof tokensOptions>;
type Action = (operands: readonly string[], options: Options, signal: AbortSignal) => Promise<void>;

const ACTIONS: Record<string, Action> = { add, list, remove, pair, sessions, revoke };

export const command = defineCommand({
  name: "tokens",
  about: "manage access: tokens in a file, pairing of browsers, their sessions",
  operands: "ACTION [NAME]",
  more: `  add NAME     a new token with --role into --tokens-file; its secret is printed once
  list         the file's tokens: name, role, when it was made
  remove NAME  remove a token from the file; serve rejects it within a second
  pair         a link and a QR code that pair one browser, once, within 10 minutes: a request to the running serve
  sessions     paired browsers, by id
  revoke ID    end a session

`,
  options: tokensOptions,
  async run({ values, operands: [action = "", ...names], signal }) {
    const act = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined;
    if (!act) throw badInput(OP, "ACTION", `must be one of ${Object.keys(ACTIONS).join(", ")}`);
    const takesOne = act === add || act === remove || act === revoke;
    if (takesOne ? names.length !== 1 : names.length > 0)
      throw badInput(OP, "NAME", takesOne ? `${action} takes one name or id` : `${action} takes none`);
    await act(names, values, signal);
  },
});

async function add([name = ""]: readonly string[], options: Options): Promise<void> {
  const { role } = options;
  if (!NAME_PATTERN.test(name))
    throw badInput(OP, "NAME", "a name is 1 to 64 letters, digits, dots, dashes, underscores or @");
  if (role === undefined || !isRole(role)) throw badInput(OP, "--role", "must be set: what the token may do");
  const { secret, token } = makeToken({ name, role });
  await changeTokenFile(fileOf(options), (tokens) => {
    if (tokens.some((each) => each.name === name))
      throw badInput(OP, "NAME", `${name} exists already: remove it first, or choose another name`);
    return [...tokens, token];
  });
  process.stderr.write(`${name} may ${role}. This is shown once:\n`);
  printLine(secret);
}

async function list(_: readonly string[], options: Options): Promise<void> {
  const tokens = await readTokenFile(fileOf(options));
  for (const { name, role, created } of tokens)
    printLine(
      options.json ? JSON.stringify({ name, role, created }) : `${name.padEnd(32)} ${role.padEnd(8)} ${created}`,
    );
  if (!options.json && tokens.length === 0) printLine("no tokens");
}

async function remove([name = ""]: readonly string[], options: Options): Promise<void> {
  await changeTokenFile(fileOf(options), (tokens) => {
    const left = tokens.filter((each) => each.name !== name);
    if (left.length === tokens.length) throw badInput(OP, "NAME", `there is no token ${name}`);
    return left;
  });
  printLine(`${name} is removed; the sessions that it has paired go on: see "shuiwei tokens sessions"`);
}

async function pair(_: readonly string[], options: Options, signal: AbortSignal): Promise<void> {
  const { label, role, days, json } = options;
  const body = { ...(label && { label }), ...(role && { role: role as Role }), ...(days && { days }) };
  const made = (await request(options, "POST", "/v1/sessions/pairings", signal, body)) as Record<string, string>;
  if (json) {
    printLine(JSON.stringify(made));
    return;
  }
  const { link = "", code, name, role: given, validUntil } = made;
  printLine(`${await qrCode(link)}\n\n${link}\ncode ${code}: once, until ${validUntil}, for ${name} (${given})`);
  if (LOOPBACK.test(new URL(link).host))
    process.stderr.write("this link works on this machine only: give --server the address that the screen will use\n");
}

/**
 * Blocks are the light squares: white on black, whatever the terminal's colours are, because not every phone reads
 * the opposite.
 */
async function qrCode(link: string): Promise<string> {
  const { renderUnicodeCompact } = await import("uqr");
  const lines = renderUnicodeCompact(link, { border: 2 }).split("\n");
  return process.stdout.isTTY ? lines.map((line) => `\u001b[97;40m${line}\u001b[0m`).join("\n") : lines.join("\n");
}

async function sessions(_: readonly string[], options: Options, signal: AbortSignal): Promise<void> {
  const { sessions: all } = (await request(options, "GET", "/v1/sessions", signal)) as { sessions: SessionLine[] };
  for (const each of all) {
    const { id, name, role, since, expiresAt } = each;
    printLine(
      options.json ? JSON.stringify(each) : `${id}  ${name.padEnd(40)} ${role.padEnd(8)} ${since} to ${expiresAt}`,
    );
  }
  if (!options.json && all.length === 0) printLine("no sessions");
}

interface SessionLine {
  id: string;
  name: string;
  role: string;
  since: string;
  expiresAt: string;
}

async function revoke([id = ""]: readonly string[], options: Options, signal: AbortSignal): Promise<void> {
  if (!/^[0-9a-f]{16}$/.test(id))
    throw badInput(OP, "ID", 'a session\'s id is 16 hexadecimal digits, as "shuiwei tokens sessions" prints it');
  await request(options, "DELETE", `/v1/sessions/${id}`, signal);
  printLine(`session ${id} has ended`);
}

function fileOf({ tokensFile }: Options): string {
  if (tokensFile === undefined) throw badInput(OP, "--tokens-file", "must be set: the file of tokens");
  return tokensFile;
}

/** A request to a running `serve`. @throws EngineError with the server's own message when it refuses */
async function request(
  { server, token }: Options,
  method: string,
  path: string,
  signal: AbortSignal,
  body?: object,
): Promise<unknown> {
  if (token === undefined) throw badInput(OP, "SHUIWEI_TOKEN", "set it to a token of the running server");
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(new URL(path, server), {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
      ...(body && { body: JSON.stringify(body) }),
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]),
    });
    text = await answer.text();
  } catch (cause) {
    const why = messageOf(cause instanceof Error && cause.cause ? cause.cause : cause);
    throw notDone(OP, `${server} cannot be reached: ${why}`);
  }
  if (answer.status >= 200 && answer.status < 300) return text === "" ? undefined : JSON.parse(text);
  let detail = text.slice(0, 200);
  try {
    detail = (JSON.parse(text) as { detail?: string }).detail ?? detail;
  } catch {
    // Not an answer of `serve`: its first characters are the message.
  }
  throw notDone(OP, `${server} answers ${answer.status}: ${detail}`);
}

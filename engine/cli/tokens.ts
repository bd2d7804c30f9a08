/**
 * `shuiwei tokens` for an administrator: gives and takes away tokens in a file of hashes, which a running `serve`
 * reads again by itself, and pairs browsers and ends their sessions by asking a running `serve` over HTTP. A new
 * secret is printed once and kept nowhere.
 */
import { renderUnicodeCompact } from "uqr";
import { isRole, NAME_PATTERN, type Role } from "../../connectors/http/identity.js";
import { changeTokenFile, makeToken, readTokenFile } from "../../connectors/http/token-file.js";
import type { tokensOptions } from "../app/config.js";
import { badInput, EngineError, messageOf } from "../kernel/errors.js";
import type { OptionValues } from "../kernel/options.js";

const OP = "tokens";
const ASK_MS = 10_000;
const LOOPBACK = /^(localhost|127\.|\[::1\])/;

type Options = OptionValues<typeof tokensOptions>;
type Action = (operands: string[], options: Options, signal: AbortSignal) => Promise<void>;

const ACTIONS: Record<string, Action> = { add, list, remove, pair, sessions, revoke };

export async function runTokens([action = "", ...operands]: string[], options: Options, signal: AbortSignal) {
  const act = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined;
  if (!act) throw badInput(OP, "ACTION", `say one of ${Object.keys(ACTIONS).join(", ")}`);
  const takesOne = act === add || act === remove || act === revoke;
  if (takesOne ? operands.length !== 1 : operands.length > 0)
    throw badInput(OP, "NAME", takesOne ? `${action} takes one name or id` : `${action} takes none`);
  await act(operands, options, signal);
}

async function add([name = ""]: string[], options: Options): Promise<void> {
  const { role } = options;
  if (!NAME_PATTERN.test(name))
    throw badInput(OP, "NAME", "a name is 1 to 64 letters, digits, dots, dashes, underscores or @");
  if (role === undefined || !isRole(role)) throw badInput(OP, "--role", "say what the token may do");
  const { secret, token } = makeToken({ name, role });
  await changeTokenFile(fileOf(options), (tokens) => {
    if (tokens.some((each) => each.name === name))
      throw badInput(OP, "NAME", `${name} is there already: remove it first, or choose another name`);
    return [...tokens, token];
  });
  process.stderr.write(`${name} may ${role}. This is shown once:\n`);
  say(secret);
}

async function list(_: string[], options: Options): Promise<void> {
  const tokens = await readTokenFile(fileOf(options));
  for (const { name, role, created } of tokens)
    say(options.json ? JSON.stringify({ name, role, created }) : `${name.padEnd(32)} ${role.padEnd(8)} ${created}`);
  if (!options.json && tokens.length === 0) say("no tokens");
}

async function remove([name = ""]: string[], options: Options): Promise<void> {
  await changeTokenFile(fileOf(options), (tokens) => {
    const left = tokens.filter((each) => each.name !== name);
    if (left.length === tokens.length) throw badInput(OP, "NAME", `there is no token ${name}`);
    return left;
  });
  say(`${name} is removed; sessions that it has paired stay: see "shuiwei tokens sessions"`);
}

async function pair(_: string[], options: Options, signal: AbortSignal): Promise<void> {
  const { label, role, days, json } = options;
  const body = { ...(label && { label }), ...(role && { role: role as Role }), ...(days && { days }) };
  const made = (await ask(options, "POST", "/v1/sessions/pairings", signal, body)) as Record<string, string>;
  if (json) {
    say(JSON.stringify(made));
    return;
  }
  const { link = "", code, name, role: given, validUntil } = made;
  say(`${qrCode(link)}\n\n${link}\ncode ${code}: once, until ${validUntil}, for ${name} (${given})`);
  if (LOOPBACK.test(new URL(link).host))
    process.stderr.write("this link works on this machine only: give --server the address that the screen will use\n");
}

/**
 * Its blocks are the light squares: white on black, whatever the terminal's colours are, because not every phone
 * reads the opposite.
 */
function qrCode(link: string): string {
  const lines = renderUnicodeCompact(link, { border: 2 }).split("\n");
  return process.stdout.isTTY ? lines.map((line) => `\u001b[97;40m${line}\u001b[0m`).join("\n") : lines.join("\n");
}

async function sessions(_: string[], options: Options, signal: AbortSignal): Promise<void> {
  const { sessions: all } = (await ask(options, "GET", "/v1/sessions", signal)) as { sessions: SessionLine[] };
  for (const each of all) {
    const { id, name, role, since, expiresAt } = each;
    say(options.json ? JSON.stringify(each) : `${id}  ${name.padEnd(40)} ${role.padEnd(8)} ${since} to ${expiresAt}`);
  }
  if (!options.json && all.length === 0) say("no sessions");
}

interface SessionLine {
  id: string;
  name: string;
  role: string;
  since: string;
  expiresAt: string;
}

async function revoke([id = ""]: string[], options: Options, signal: AbortSignal): Promise<void> {
  if (!/^[0-9a-f]{16}$/.test(id))
    throw badInput(OP, "ID", "a session's id is 16 hexadecimal digits, as sessions tells it");
  await ask(options, "DELETE", `/v1/sessions/${id}`, signal);
  say(`session ${id} is over`);
}

function fileOf({ tokensFile }: Options): string {
  if (tokensFile === undefined) throw badInput(OP, "--tokens-file", "say which file");
  return tokensFile;
}

/** Asks a running `serve`. @throws EngineError in the server's words when it refuses */
async function ask(
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
      signal: AbortSignal.any([signal, AbortSignal.timeout(ASK_MS)]),
    });
    text = await answer.text();
  } catch (cause) {
    const why = messageOf(cause instanceof Error && cause.cause ? cause.cause : cause);
    throw failure(`${server} cannot be asked: ${why}`);
  }
  if (answer.status >= 200 && answer.status < 300) return text === "" ? undefined : JSON.parse(text);
  let detail = text.slice(0, 200);
  try {
    detail = (JSON.parse(text) as { detail?: string }).detail ?? detail;
  } catch {
    // Not ours: the beginning of what it says has to do.
  }
  throw failure(`${server} answers ${answer.status}: ${detail}`);
}

const failure = (message: string): EngineError =>
  new EngineError(message, { op: OP, code: "not_done", retryable: false });

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/**
 * Tokens in a file of hashes, which `shuiwei tokens` writes and `serve` reads again when it changes, so that tokens are
 * added and removed without a restart. A file that cannot be read or parsed changes nothing: the tokens read before
 * stay valid, and the fault is reported until the file is valid. A file without tokens is valid and admits no client.
 * It contains names, roles and hashes, no secret.
 */
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { sleep, systemClock } from "../../engine/kernel/clock.js";
import { EngineError, messageOf } from "../../engine/kernel/errors.js";
import { secureBytes } from "../../engine/kernel/random.js";
import type { TokenLookup } from "./identity.js";
import { type Identity, isRole, NAME_PATTERN, ROLES } from "./identity.js";
import { digestOf } from "./tokens.js";

/** A token as stored in the file. */
export interface KeptToken extends Identity {
  sha256: string;
  /** ISO 8601. */
  created: string;
}

const REFRESH_MS = 1_000;
/** 200 bytes a token: some thousands of them. */
const BYTES_LIMIT = 1024 * 1024;
const SHA256 = /^[0-9a-f]{64}$/;
/** Lets secret scanners recognise our secrets. */
const SECRET_PREFIX = "sw_";
const SECRET_BYTES = 32;
const OWNER_ONLY = 0o600;

const badFile = (path: string, fault: string): EngineError =>
  new EngineError(`${path}: ${fault}`, {
    op: "tokens.read",
    code: "bad_option",
    retryable: false,
    input: "tokensFile",
  });

/** The tokens of a file. @throws EngineError `bad_option` */
export async function readTokenFile(path: string): Promise<KeptToken[]> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > BYTES_LIMIT) throw new Error(`it has ${size} bytes; the limit is ${BYTES_LIMIT}`);
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw badFile(path, `cannot be read: ${messageOf(cause)}`);
  }
  let tokens: unknown;
  try {
    tokens = (JSON.parse(text) as { tokens?: unknown } | null)?.tokens;
  } catch {
    throw badFile(path, "is not JSON");
  }
  if (!Array.isArray(tokens)) throw badFile(path, 'has no list "tokens", as "shuiwei tokens add" writes it');
  return tokens.map((each: unknown, i) => tokenOf(each, (fault) => badFile(path, `tokens[${i}] ${fault}`)));
}

function tokenOf(each: unknown, fault: (text: string) => EngineError): KeptToken {
  const { name, role, sha256, created } = (each ?? {}) as Record<string, unknown>;
  if (typeof name !== "string" || !NAME_PATTERN.test(name)) throw fault("has no valid name");
  if (typeof role !== "string" || !isRole(role)) throw fault(`has a role that is none of ${ROLES.join(", ")}`);
  if (typeof sha256 !== "string" || !SHA256.test(sha256)) throw fault("has no SHA-256 of 64 hexadecimal digits");
  return { name, role, sha256, created: typeof created === "string" ? created : "" };
}

/**
 * Changes a file under a lock file beside it, and replaces it atomically, readable by its owner only. A missing file
 * has no tokens.
 * @throws EngineError `bad_option`, `locked`, and whatever `change` throws
 */
export async function changeTokenFile(path: string, change: (tokens: KeptToken[]) => KeptToken[]): Promise<void> {
  const lockPath = `${path}.lock`;
  const lock = await open(lockPath, "wx", OWNER_ONLY).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "EEXIST") throw badFile(path, `cannot be changed: ${messageOf(cause)}`);
    throw new EngineError(`another command is changing ${path}; if none is, remove ${lockPath}`, {
      op: "tokens.change",
      code: "locked",
      retryable: true,
    });
  });
  try {
    const isThere = await stat(path).then(
      () => true,
      () => false,
    );
    const tokens = change(isThere ? await readTokenFile(path) : []);
    const partial = `${path}.${secureBytes(6).toString("hex")}`;
    const file = await open(partial, "wx", OWNER_ONLY);
    try {
      await file.writeFile(`${JSON.stringify({ tokens }, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } finally {
    await lock.close();
    await rm(lockPath, { force: true });
  }
}

/** A secret of 256 random bits, and the token as it is stored. */
export function makeToken(identity: Identity): { secret: string; token: KeptToken } {
  const secret = SECRET_PREFIX + secureBytes(SECRET_BYTES).toString("base64url");
  const created = new Date(systemClock.now()).toISOString();
  return { secret, token: { ...identity, sha256: digestOf(secret), created } };
}

/** The current tokens of a file, for `serve`. */
export class TokenFile implements TokenLookup {
  readonly #path: string;
  readonly #onTrouble: (message: string) => void;
  readonly #stop = new AbortController();
  #tokens: ReadonlyMap<string, Identity> = new Map();
  #version = "";
  #fault: string | undefined;
  #running: Promise<void> | undefined;

  constructor(path: string, onTrouble: (message: string) => void) {
    this.#path = path;
    this.#onTrouble = onTrouble;
  }

  /** Reads the file and starts to watch it. @throws EngineError `bad_option` when it cannot be read now */
  async start(): Promise<void> {
    await this.reload();
    if (this.#fault !== undefined)
      throw new EngineError(this.#fault, {
        op: "http.start",
        code: "bad_option",
        retryable: false,
        input: "tokensFile",
      });
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  get(digest: string): Identity | undefined {
    return this.#tokens.get(digest);
  }

  /** Problems for the operator. */
  warnings(): string[] {
    if (this.#fault !== undefined) return [`${this.#fault}; the tokens read before it stay valid`];
    return this.#tokens.size === 0 ? [`${this.#path} holds no token`] : [];
  }

  /** Reads the file when it has changed. Never fails. */
  async reload(): Promise<void> {
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const version = `${mtimeMs} ${size} ${ino}`;
      if (version === this.#version) return;
      const tokens = await readTokenFile(this.#path);
      this.#tokens = new Map(tokens.map(({ name, role, sha256 }) => [sha256, { name, role }]));
      this.#version = version;
      this.#fault = undefined;
    } catch (thrown) {
      const fault = thrown instanceof EngineError ? thrown.message : `${this.#path}: ${messageOf(thrown)}`;
      // The next valid file is read in any case, also when it is the one from before the fault.
      this.#version = "";
      if (fault !== this.#fault) this.#onTrouble(fault);
      this.#fault = fault;
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(REFRESH_MS, signal);
      if (!signal.aborted) await this.reload();
    }
  }
}

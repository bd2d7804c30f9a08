/**
 * A request of a command to a running `serve`. What may succeed later is tried again within a minute, unless the
 * command states that a repeat would do something a second time. The server's own message is the error's.
 */
import { setTimeout as pause } from "node:timers/promises";
import { badInput, messageOf } from "../kernel/errors.js";
import { defineOptions } from "../kernel/options.js";
import { notDone } from "./text.js";

/** Of every command that calls a running `serve`. */
export const serverOptions = defineOptions({
  server: { type: "string", default: "http://127.0.0.1:8618", about: "the running serve" },
  token: { type: "string", secret: true, about: "a token of that server with the role operate, as SHUIWEI_TOKEN" },
});

export interface ServerAddress {
  readonly server: string;
  readonly token: string | undefined;
}

export interface ServerRequest {
  /** For errors. */
  readonly op: string;
  /** Of each attempt. */
  path(): string;
  /** Left out: a GET. */
  readonly sending?: { readonly body: Buffer; readonly headers: Readonly<Record<string, string>> };
  /** A repeat would do something a second time. */
  readonly isOnce?: boolean;
}

/** A part of a large snapshot may take long on a slow line; the server ends one that stops after 30 s. */
const REQUEST_MS = 600_000;
const TRIES = 6;
const FIRST_PAUSE_MS = 500;
const RETRIED = new Set([408, 429, 502, 503, 504]);

/**
 * @returns the JSON of the answer
 * @throws EngineError `not_done` with the server's own message, `bad_input` without a token
 */
export async function requestServer(
  { server, token }: ServerAddress,
  { op, path, sending, isOnce = false }: ServerRequest,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  if (token === undefined) throw badInput(op, "SHUIWEI_TOKEN", "set it to a token of the running server");
  const headers = { authorization: `Bearer ${token}`, ...sending?.headers };
  for (let attempt = 1; ; attempt++) {
    let failure: string;
    try {
      const answer = await fetch(new URL(path(), server), {
        ...(sending ? { method: "POST", body: new Uint8Array(sending.body) } : {}),
        ...{ headers, redirect: "error" },
        signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]),
      });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text) as Record<string, unknown>;
      failure = `${server} answers ${answer.status}: ${detailOf(text)}`;
      if (!RETRIED.has(answer.status)) throw notDone(op, failure);
    } catch (thrown) {
      if (signal.aborted || (thrown instanceof Error && thrown.name === "EngineError")) throw thrown;
      const why = messageOf(thrown instanceof Error && thrown.cause ? thrown.cause : thrown);
      failure = `${server} cannot be reached: ${why}`;
    }
    if (isOnce || attempt === TRIES) throw notDone(op, failure);
    await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1), undefined, { signal });
  }
}

function detailOf(text: string): string {
  try {
    return (JSON.parse(text) as { detail?: string }).detail ?? text.slice(0, 200);
  } catch {
    // Not an answer of `serve`: its first characters are the message.
    return text.slice(0, 200);
  }
}

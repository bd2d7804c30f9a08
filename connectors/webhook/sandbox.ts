/**
 * A sandbox of a receiver of webhooks: it verifies signature and time as the Standard Webhooks specification demands,
 * checks the body against its schema, and shows a repeat once. It keeps the newest messages in memory.
 *
 *   POST /hooks    204 accepted, also a repeat; 400 no body of version 1; 401 not signed, or too old; 429 too many
 */
import { systemClock } from "../../engine/kernel/clock.js";
import { schemaFaults } from "../configuration/schema-faults.js";
import {
  type SandboxAnswer,
  type SandboxRequest,
  SandboxServer,
  type SandboxServerSettings,
} from "../sources/sandbox/server.js";
import { WebhookBody } from "./body.schema.js";
import { isSigned, keyOf } from "./signature.js";

/** For trying things out: no secret of anybody. */
export const WEBHOOK_SANDBOX = { secret: "whsec_c2FuZGJveC1zZWNyZXQtc2FuZGJveC1zZWNyZXQ=" } as const;

const TOLERANCE_SECONDS = 300;
const MESSAGES_KEPT = 10_000;

export class WebhookSandbox extends SandboxServer {
  readonly #key: Buffer;
  readonly #ids = new Set<string>();
  #messages: WebhookBody[] = [];
  /** Repeats that were recognised. */
  repeats = 0;
  /** Requests that were not signed as they must be. */
  denied = 0;

  constructor(settings: SandboxServerSettings & { readonly secret?: string } = {}) {
    super(settings);
    this.#key = keyOf(settings.secret ?? WEBHOOK_SANDBOX.secret) as Buffer;
  }

  /** What a person would see, each message once, the oldest first. */
  get messages(): readonly WebhookBody[] {
    return this.#messages;
  }

  protected answer({ method, url, headers, body }: SandboxRequest): SandboxAnswer {
    if (method !== "POST" || url.pathname !== "/hooks") return { status: 404, body: "" };
    const id = String(headers["webhook-id"] ?? "");
    const timestamp = Number(headers["webhook-timestamp"] ?? Number.NaN);
    const isFresh = Math.abs(systemClock.now() / 1_000 - timestamp) <= TOLERANCE_SECONDS;
    const signatures = String(headers["webhook-signature"] ?? "");
    if (id === "" || !isFresh || !isSigned({ id, timestamp, body }, signatures, this.#key)) {
      this.denied++;
      return { status: 401, body: "not signed as it must be" };
    }
    const json = JSON.parse(body) as WebhookBody;
    const [fault] = schemaFaults(WebhookBody, json);
    if (fault) return { status: 400, body: `${fault.pointer} ${fault.message}` };
    if (this.#ids.has(id)) this.repeats++;
    else {
      this.#ids.add(id);
      this.#messages = [...this.#messages, json].slice(-MESSAGES_KEPT);
    }
    return { status: 204, body: "" };
  }

  protected throttled(): SandboxAnswer {
    return { status: 429, headers: { "retry-after": "1" }, body: "too many requests in this second" };
  }
}

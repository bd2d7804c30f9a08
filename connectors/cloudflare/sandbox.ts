/**
 * A sandbox of Cloudflare's purges: it verifies zone and token, takes at most 100 tags or URLs with one request (500
 * URLs of the plan enterprise), limits requests by the plan's token bucket, and lists what was purged. It answers with
 * Cloudflare's envelope, refusals too.
 *
 *   POST /client/v4/zones/<zone>/purge_cache    {"tags":[…]} or {"files":[…]}
 */
import { PurgeSandbox, type PurgeSandboxSettings } from "../purges/sandbox.js";
import type { SandboxAnswer, SandboxRequest } from "../sources/sandbox/server.js";
import { type Plan, TAG_LIMITS, URL_LIMITS } from "./limits.js";

export const CLOUDFLARE_SANDBOX = {
  zone: "0123456789abcdef0123456789abcdef",
  token: "sandbox-token-of-a-zone",
} as const;

/** What a zone's API answers. */
const ERRORS = {
  token: { status: 401, code: 10000, message: "Authentication error" },
  zone: { status: 403, code: 9109, message: "Unauthorized to access requested resource" },
  body: { status: 400, code: 1012, message: "Request must contain one of tags or files" },
  batch: { status: 400, code: 1094, message: "Too many operations in one request" },
  rate: { status: 429, code: 1134, message: "Rate limit exceeded" },
} as const;

const refusal = ({ status, code, message }: (typeof ERRORS)[keyof typeof ERRORS]): SandboxAnswer => ({
  status,
  headers: { "content-type": "application/json", ...(status === 429 ? { "retry-after": "1" } : {}) },
  body: JSON.stringify({ success: false, errors: [{ code, message }], messages: [], result: null }),
});

export class CloudflareSandbox extends PurgeSandbox {
  readonly #plan: Plan;

  constructor(settings: PurgeSandboxSettings & { readonly plan?: Plan } = {}) {
    super(settings);
    this.#plan = settings.plan ?? "pro";
  }

  protected override throttled(): SandboxAnswer {
    return refusal(ERRORS.rate);
  }

  protected override answer({ method, url, headers, body }: SandboxRequest): SandboxAnswer {
    if (headers.authorization !== `Bearer ${CLOUDFLARE_SANDBOX.token}`) {
      this.denied++;
      return refusal(ERRORS.token);
    }
    if (url.pathname !== `/client/v4/zones/${CLOUDFLARE_SANDBOX.zone}/purge_cache`) return refusal(ERRORS.zone);
    const { tags, files } = JSON.parse(body) as { tags?: unknown; files?: unknown };
    const values = (tags ?? files) as readonly unknown[] | undefined;
    const isList = Array.isArray(values) && values.length > 0 && values.every((value) => typeof value === "string");
    if (method !== "POST" || !isList || (tags !== undefined && files !== undefined)) return refusal(ERRORS.body);
    const limits = (tags === undefined ? URL_LIMITS : TAG_LIMITS)[this.#plan];
    if (values.length > limits.batch) return refusal(ERRORS.batch);
    const throttled = this.purge(values as readonly string[], limits);
    if (throttled) return throttled;
    const result = { id: CLOUDFLARE_SANDBOX.zone };
    return {
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ success: true, errors: [], messages: [], result }),
    };
  }
}

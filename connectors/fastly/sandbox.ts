/**
 * A sandbox of Fastly's purges: it verifies service and token, takes at most 256 surrogate keys with one request,
 * limits the requests of a second, and lists what was purged. A soft purge is refused: it would leave the old copies.
 *
 *   POST /service/<service>/purge    {"surrogate_keys":[…]}
 */
import { PurgeSandbox } from "../purges/sandbox.js";
import type { SandboxAnswer, SandboxRequest } from "../sources/sandbox/server.js";
import { FASTLY_LIMITS } from "./limits.js";

export const FASTLY_SANDBOX = { service: "SU1Z0isxPaozGVKXdv0eY", token: "sandbox-token-of-a-service" } as const;

const refusal = (status: number, msg: string, more: Readonly<Record<string, string>> = {}): SandboxAnswer => ({
  status,
  headers: { "content-type": "application/json", ...more },
  body: JSON.stringify({ msg }),
});

export class FastlySandbox extends PurgeSandbox {
  #purges = 0;

  protected override throttled(): SandboxAnswer {
    return refusal(429, "Too many requests", { "retry-after": "1" });
  }

  protected override answer({ method, url, headers, body }: SandboxRequest): SandboxAnswer {
    if (headers["fastly-key"] !== FASTLY_SANDBOX.token) {
      this.denied++;
      return refusal(401, "Provided credentials are missing or invalid");
    }
    if (method !== "POST" || url.pathname !== `/service/${FASTLY_SANDBOX.service}/purge`)
      return refusal(404, "Record not found");
    if (headers["fastly-soft-purge"] !== undefined) return refusal(400, "This sandbox takes hard purges only");
    const { surrogate_keys: keys } = JSON.parse(body) as { surrogate_keys?: unknown };
    if (!Array.isArray(keys) || keys.length === 0 || !keys.every((key) => typeof key === "string"))
      return refusal(400, "Bad request: surrogate keys are missing");
    if (keys.length > FASTLY_LIMITS.batch) return refusal(400, `Bad request: more than ${FASTLY_LIMITS.batch} keys`);
    const throttled = this.purge(keys as string[], FASTLY_LIMITS);
    if (throttled) return throttled;
    this.#purges++;
    const ids = keys.map((key, i) => [key, `${this.#purges}-${i}`]);
    return { headers: { "content-type": "application/json" }, body: JSON.stringify(Object.fromEntries(ids)) };
  }
}

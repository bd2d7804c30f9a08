/**
 * Which hosts may receive pushes. A subscription's address comes from a browser, so without this check a client could
 * let the engine send requests to any host. Allowed are the push services of the browsers' vendors, by name, and what
 * the operator names. Pure: whether a name resolves to a private address is checked when a push is sent.
 */
import { isIP } from "node:net";
import { EngineError } from "../../engine/kernel/errors.js";

/** Chrome, Edge on Android, Samsung Internet, Opera; Chromium; Firefox; Safari; Edge. */
const NAMES = ["fcm.googleapis.com", "jmt17.google.com", "web.push.apple.com"];
const SUFFIXES = [".push.services.mozilla.com", ".push.apple.com", ".notify.windows.com"];
const HOST = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
const MAX_HOSTS = 32;

/** Whether the host is a browser vendor's push service, at the default port, or one that the operator has named. */
export type PushHostPolicy = (url: URL) => "vendor" | "operator" | undefined;

/**
 * @param allowed of `--push-hosts`
 * @throws EngineError `bad_option`
 */
export function pushHostPolicy(allowed: readonly string[]): PushHostPolicy {
  const hosts = new Set(trustedHostsOf(allowed));
  return ({ hostname, port }) => {
    if (hosts.has(`${hostname}:${port || "443"}`)) return "operator";
    if (port !== "" || isIP(hostname)) return undefined;
    const isVendor = NAMES.includes(hostname) || SUFFIXES.some((suffix) => hostname.endsWith(suffix));
    return isVendor ? "vendor" : undefined;
  };
}

/**
 * The hosts of `--push-hosts`, each with its port.
 * @throws EngineError `bad_option`
 */
export function trustedHostsOf(allowed: readonly string[]): readonly string[] {
  if (allowed.length > MAX_HOSTS) throw badHosts(`names more than ${MAX_HOSTS} hosts`);
  return allowed.map(normalised);
}

/** `host:port` as a URL has them. */
function normalised(text: string): string {
  const [, host = "", port = "443"] = /^([^:]+)(?::(\d{1,5}))?$/.exec(text.toLowerCase()) ?? [];
  const url =
    HOST.test(host) && URL.canParse(`https://${host}:${port}`) ? new URL(`https://${host}:${port}`) : undefined;
  if (url === undefined) throw badHosts(`${JSON.stringify(text)} is not HOST or HOST:PORT`);
  return `${url.hostname}:${url.port || "443"}`;
}

const badHosts = (fault: string): EngineError =>
  new EngineError(`bad option: --push-hosts: ${fault}`, { op: "webPush.open", code: "bad_option", retryable: false });

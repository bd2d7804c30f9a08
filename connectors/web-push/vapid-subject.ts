/**
 * Checks the contact that push services get with every push (RFC 8292 §2.1). A wrong one stops the start: Apple refuses
 * every push of a sender whose contact is local or not well formed (403 BadJwtToken), and the others cannot reach
 * the operator. Whether the address exists is not checked.
 */
import { isIP } from "node:net";
import { EngineError } from "../../engine/kernel/errors.js";

const LONGEST = 256;
/** Names that no public service can resolve (RFC 2606, RFC 6761, RFC 6762). */
const LOCAL_SUFFIXES = ["localhost", "invalid", "local", "test", "example", "localdomain", "internal"];
const HOST_NAME = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/;
const MAILBOX = /^[A-Za-z0-9._%+-]{1,64}$/;

/** Why a text cannot be the subject; undefined when it can. */
export function subjectFault(subject: string): string | undefined {
  if (subject.length > LONGEST) return `is longer than ${LONGEST} characters`;
  if (/[^\x21-\x7e]/.test(subject)) return "contains a space or a character that is not ASCII";
  const [, mail] = /^mailto:(.*)$/.exec(subject) ?? [];
  if (mail !== undefined) {
    const [mailbox = "", host, ...more] = mail.split("@");
    if (host === undefined || more.length > 0) return "has no mail address with one @ after mailto:";
    return MAILBOX.test(mailbox) ? hostFault(host.toLowerCase()) : "has a mail address that cannot be read";
  }
  if (!subject.startsWith("https://") || !URL.canParse(subject))
    return "is neither mailto:NAME@HOST nor an https address";
  const { hostname, username, password } = new URL(subject);
  return username || password ? "contains a user name" : hostFault(hostname);
}

function hostFault(host: string): string | undefined {
  if (isIP(host.replace(/^\[|\]$/g, ""))) return `names ${host}: push services refuse addresses of machines`;
  if (LOCAL_SUFFIXES.some((suffix) => host === suffix || host.endsWith(`.${suffix}`)))
    return `names ${host}: push services refuse names that exist only locally`;
  return HOST_NAME.test(host) ? undefined : `names ${JSON.stringify(host)}, which is not a public host name`;
}

/** @throws EngineError `bad_option` */
export function checkSubject(subject: string): void {
  const fault = subjectFault(subject);
  if (fault === undefined) return;
  const message = `bad option: --vapid-subject: ${JSON.stringify(subject)} ${fault}`;
  throw new EngineError(message, { op: "webPush.open", code: "bad_option", retryable: false });
}

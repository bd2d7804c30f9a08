/**
 * How an alert of any rule is named on a page: its rule in words, and its subject as people call it. Subjects of the
 * shop, such as SKUs and receivers, are shown unchanged. A rule of a newer server is called an alert.
 */
import type { PlainKey, Translate } from "./dictionary.js";

const RULE_TEXTS: Readonly<Record<string, PlainKey>> = {
  depletion: "ruleDepletion",
  breaker: "ruleBreaker",
  order_exceptions: "ruleOrderExceptions",
  receiver_circuit: "ruleReceiverCircuit",
  jobs_behind: "ruleJobsBehind",
  dead_letters: "ruleDeadLetters",
  redis_full: "ruleRedisFull",
};

export const ruleText = (text: Translate, rule: string): string => text(RULE_TEXTS[rule] ?? "ruleOther");

/** What an alert is about: its SKU, the breaker's scope in words, or the subject as it is. */
export function subjectText(text: Translate, rule: string, subject: string): string {
  // A step of orders and what is wrong with it.
  if (rule === "order_exceptions") return subject.replace("/", " · ");
  if (rule !== "breaker") return subject;
  const [kind, name = ""] = subject.split(/:(.*)/s, 2);
  if (kind === "location") return text("subjectLocation", { name });
  return kind === "sku" ? name : text("subjectShop");
}

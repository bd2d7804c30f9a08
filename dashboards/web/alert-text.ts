/**
 * How an alert of any rule is named on a page: a SKU that sells fast by its SKU, every other alert by its rule, with
 * what it is about beside it. Names of the shop, such as SKUs and receivers, are shown unchanged; an order's steps and
 * a breaker's scope in words. A rule of a newer server is called an alert.
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

/** The steps of an order, and what is wrong with one. */
const EXCEPTION_TEXTS: Readonly<Record<string, PlainKey>> = {
  created: "stepCreated",
  paid: "stepPaid",
  locked: "stepLocked",
  picking: "stepPicking",
  labelled: "stepLabelled",
  waybill: "stepWaybill",
  outbound: "stepOutbound",
  reported: "stepReported",
  cancelled: "stepCancelled",
  late: "exceptionLate",
  skipped: "exceptionSkipped",
};

export const ruleText = (text: Translate, rule: string): string => text(RULE_TEXTS[rule] ?? "ruleOther");

/** What an alert is about: its SKU, the breaker's scope or the order's step in words, or the subject as it is. */
function subjectText(text: Translate, rule: string, subject: string): string {
  const wordOf = (word: string) => (EXCEPTION_TEXTS[word] === undefined ? word : text(EXCEPTION_TEXTS[word]));
  if (rule === "order_exceptions") return subject.split("/").map(wordOf).join(" · ");
  if (rule !== "breaker") return subject;
  const [kind, name = ""] = subject.split(/:(.*)/s, 2);
  if (kind === "location") return text("subjectLocation", { name });
  return kind === "sku" ? name : text("subjectShop");
}

/** The name of an alert and the line below it. */
export function alertNames(
  text: Translate,
  { rule, subject }: { rule: string; subject: string },
): { name: string; detail: string } {
  const [about, named] = [subjectText(text, rule, subject), ruleText(text, rule)];
  return rule === "depletion" ? { name: about, detail: named } : { name: named, detail: about };
}

/**
 * Answers of chat platforms: status 200 with an error code in a JSON body, where 0 means that the message was taken.
 * What a code means is the platform's; a channel lists those that may pass, and every other is for good. An answer that
 * is no such JSON is judged by its status. With status 200 it may come from a proxy, so the message is sent again.
 */
import type { Clock } from "../../engine/kernel/clock.js";
import type { ChannelOutcome } from "../channel.js";
import { type HttpAnswer, outcomeOfStatus } from "./http-client.js";

export interface AnswerCode {
  readonly code: number;
  /** As the platform wrote it, cut. */
  readonly text: string;
  /** The whole body. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** `throttled`: the platform refuses messages for a time; `later`: the same message may be taken a moment later. */
export type CodeMeaning = "throttled" | "later";

const TEXT_CHARACTERS = 200;

/**
 * Reads the code of an answer.
 * @param codeField name of the field with the code, such as `errcode`
 * @param textField name of the field with its text
 * @returns undefined when the body is no JSON object with a code
 */
export function codeOf({ text, isCut }: HttpAnswer, codeField: string, textField: string): AnswerCode | undefined {
  if (isCut) return undefined;
  try {
    const body = JSON.parse(text) as Record<string, unknown> | null;
    const code = body?.[codeField];
    if (!body || typeof code !== "number") return undefined;
    return { code, text: String(body[textField] ?? "").slice(0, TEXT_CHARACTERS), body };
  } catch {
    return undefined;
  }
}

/** @param throttledMs how long the platform refuses messages after too many */
export function outcomeOfCode(
  answer: HttpAnswer,
  clock: Clock,
  found: AnswerCode | undefined,
  meanings: Readonly<Record<number, CodeMeaning>>,
  throttledMs: number,
): ChannelOutcome {
  const byStatus = outcomeOfStatus(answer, clock);
  if (!found)
    return byStatus.outcome === "accepted"
      ? { outcome: "retry", reason: "the answer is not one of the platform", mayHaveArrived: true }
      : byStatus;
  if (found.code === 0) return byStatus;
  const reason = `code ${found.code}: ${found.text}`;
  const meaning = meanings[found.code];
  if (meaning === "throttled") return { outcome: "retry", reason, throttled: true, retryAfterMs: throttledMs };
  if (meaning === "later") return { outcome: "retry", reason };
  return { outcome: "refused", reason };
}

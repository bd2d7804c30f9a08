/** A predicate for errors of the engine: their code and message. */
import { EngineError } from "../../../engine/kernel/errors.js";

export const isEngineError =
  (code: string, message: RegExp) =>
  (thrown: unknown): boolean =>
    thrown instanceof EngineError && thrown.code === code && message.test(thrown.message);

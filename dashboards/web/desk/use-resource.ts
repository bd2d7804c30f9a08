/**
 * An answer of the HTTP API as a hook: read at once, again whenever its path or `version` changes, and every so often
 * while the page is visible; what does not exist (404) is not read again by itself. One request at a time. When a
 * request fails, the last answer stays and the error is beside it, so that a component can show old data as old.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { get, RequestError } from "./api.js";

export interface Resource<Answer> {
  /** Undefined before the first answer. */
  answer: Answer | undefined;
  /** Of the last request; undefined after a success. */
  error: RequestError | undefined;
  /** Reads it again now. */
  reload(): void;
}

/**
 * @param path undefined: nothing is read
 * @param version a change of it reads again, for example the id of the newest comparison
 */
export function useResource<Answer>(path: string | undefined, everyMs: number, version = ""): Resource<Answer> {
  const [state, setState] = useState<{ path?: string; answer?: Answer; error?: RequestError }>({});
  const reload = useRef(() => {});
  useEffect(() => {
    if (path === undefined) return;
    let ended = false;
    let isMissing = false;
    let isReading = false;
    let isAskedAgain = false;
    const read = () => {
      if (isReading) {
        isAskedAgain = true;
        return;
      }
      isReading = true;
      get<Answer>(path)
        .then(
          (answer) => !ended && setState({ path, answer }),
          (thrown: unknown) => {
            const error = thrown instanceof RequestError ? thrown : new RequestError(0, "", String(thrown));
            isMissing = error.status === 404;
            if (!ended) setState((before) => ({ ...(before.path === path ? before : { path }), error }));
          },
        )
        .finally(() => {
          isReading = false;
          if (!isAskedAgain || ended) return;
          isAskedAgain = false;
          read();
        });
    };
    reload.current = read;
    read();
    const readIfVisible = () => {
      if (document.visibilityState === "visible" && !isMissing) read();
    };
    const timer = setInterval(readIfVisible, everyMs);
    document.addEventListener("visibilitychange", readIfVisible);
    return () => {
      ended = true;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", readIfVisible);
    };
  }, [path, everyMs, version]);
  const isCurrent = state.path === path;
  return {
    answer: isCurrent ? state.answer : undefined,
    error: isCurrent ? state.error : undefined,
    reload: () => reload.current(),
  };
}

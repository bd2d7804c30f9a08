/**
 * The pages' requests to the HTTP API: JSON answers, and problems as errors that a component can show. The session's
 * cookie goes along by itself. A request takes 15 s at most; nothing is repeated here.
 */
const TIMEOUT_MS = 15_000;

/** An answer that is not a success, or none at all (status 0). */
export class RequestError extends Error {
  readonly status: number;
  /** The problem's code, such as `forbidden`; empty when there was none. */
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.name = "RequestError";
    this.status = status;
    this.code = code;
  }
}

interface Problem {
  code?: string;
  title?: string;
  detail?: string;
  errors?: readonly { field: string; message: string }[];
}

async function problemOf(answer: Response): Promise<RequestError> {
  const problem: Problem = await answer.json().catch(() => ({}));
  const fields = problem.errors?.map(({ field, message }) => `${field} ${message}`.trim()).join("; ");
  const detail = [problem.detail ?? problem.title ?? answer.statusText, fields].filter(Boolean).join(": ");
  return new RequestError(answer.status, problem.code ?? "", detail);
}

async function request<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
  let answer: Response;
  try {
    answer = await fetch(path, { ...init, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw new RequestError(0, "", error instanceof Error ? error.message : String(error));
  }
  if (!answer.ok) throw await problemOf(answer);
  return (answer.status === 204 ? undefined : await answer.json()) as Answer;
}

/** @throws RequestError */
export const get = <Answer>(path: string): Promise<Answer> => request(path);

/**
 * A write. @param body left out: there is none
 * @throws RequestError
 */
export const write = <Answer = unknown>(
  method: "POST" | "PUT" | "PATCH" | "DELETE",
  path: string,
  body?: object,
): Promise<Answer> =>
  request(path, {
    method,
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });

/** @throws RequestError */
export const post = <Answer>(path: string, body: object): Promise<Answer> => write("POST", path, body);

/**
 * One load in a process of its own, and the messages between it and its parent: the parent sends what to do, the
 * process prepares it and reports that it is ready, the parent sends the instant of the first arrival, the process
 * sends its report. A load in the process that it measures would measure itself.
 */
import { fork } from "node:child_process";
import { monotonicMs } from "./open-loop.js";

type ToLoad = { load: unknown } | { startMs: number };
type FromLoad = { ready: true } | { report: unknown } | { failed: string };

/** Between the start message and the first arrival. */
const HEAD_START_MS = 200;

export interface LoadProcess<Report> {
  readonly pid: number;
  /** Begins at an instant (left out: a little from now) and resolves when the load is over. */
  run(startMs?: number): Promise<Report>;
  /** Ends the process; it also ends with its parent. */
  stop(): void;
}

/** Starts a load's process and resolves when it is ready to begin. */
export async function startLoad<Load, Report>(
  module: URL,
  load: Load,
  signal?: AbortSignal,
): Promise<LoadProcess<Report>> {
  const child = fork(module, { stdio: ["ignore", "ignore", "inherit", "ipc"], ...(signal ? { signal } : {}) });
  const listeners: ((message: FromLoad) => void)[] = [];
  const next = (): Promise<FromLoad> =>
    new Promise((resolve, reject) => {
      listeners.push((message) => ("failed" in message ? reject(new Error(message.failed)) : resolve(message)));
    });
  const send = (message: FromLoad) => listeners.shift()?.(message);
  child.on("message", (message) => send(message as FromLoad));
  child.on("error", (error) => send({ failed: error.message }));
  child.on("exit", (code, by) => send({ failed: `the load ended early (${by ?? code})` }));
  const ready = next();
  child.send({ load } satisfies ToLoad);
  await ready;
  return {
    pid: child.pid as number,
    async run(startMs = monotonicMs() + HEAD_START_MS) {
      const report = next();
      child.send({ startMs } satisfies ToLoad);
      return ((await report) as { report: Report }).report;
    },
    stop() {
      child.kill();
    },
  };
}

/** Starts a load, lets it begin when it is ready, and ends its process. */
export async function runLoad<Load, Report>(module: URL, load: Load, signal?: AbortSignal): Promise<Report> {
  const started = await startLoad<Load, Report>(module, load, signal);
  try {
    return await started.run();
  } finally {
    started.stop();
  }
}

/**
 * The process's side: runs the one load that it is given. `started` resolves to the instant of the first arrival,
 * once the load is ready.
 */
export function serveLoad<Load, Report>(run: (load: Load, started: () => Promise<number>) => Promise<Report>): void {
  const send = (message: FromLoad) => process.send?.(message);
  let go: (startMs: number) => void = () => {};
  const started = (): Promise<number> =>
    new Promise((resolve) => {
      go = resolve;
      send({ ready: true });
    });
  process.once("disconnect", () => process.exit());
  process.on("message", (message: ToLoad) => {
    if ("startMs" in message) go(message.startMs);
    else
      run(message.load as Load, started).then(
        (report) => send({ report }),
        (thrown) => send({ failed: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) }),
      );
  });
}

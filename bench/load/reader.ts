/**
 * A process that reads over HTTP as fast as it is answered: each of its connections sends the next request when it
 * has the answer to the one before. Requests are bytes that were made ready, and of an answer only status and length
 * are read, so that it takes as little as it can of the machine that it shares with the server. It measures a rate,
 * not how long a reader waits at a lower one.
 */
import { sleep } from "../../engine/kernel/clock.js";
import { HttpConnections, type HttpTarget } from "./http-connections.js";
import { serveLoad } from "./load-process.js";
import { monotonicMs } from "./open-loop.js";

export interface ReadLoad extends HttpTarget {
  /** Asked for in turn. */
  readonly paths: readonly string[];
  readonly connections: number;
  /** How long is measured, */
  readonly seconds: number;
  /** and before that not, so that what compiles at run time has compiled, here too. */
  readonly uncountedSeconds: number;
}

export interface ReadReport {
  /** Of the seconds that are measured. */
  readonly perSecond: number;
  /** How often each status came, from the start on; `broken`: the connection ended before the answer was whole. */
  readonly answers: Record<string, number>;
}

serveLoad(async (load: ReadLoad, started: () => Promise<number>): Promise<ReadReport> => {
  const { host, port, paths, connections, seconds, uncountedSeconds } = load;
  const requests = paths.map((path) => Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`, "latin1"));
  const readers = new HttpConnections(load);
  await readers.open(connections);
  const answers: Record<string, number> = {};
  let sent = 0;
  let answered = 0;
  let isOver = false;
  const read = (): void => {
    readers.send(requests[sent++ % requests.length] as Buffer, (answer) => {
      answers[answer] = (answers[answer] ?? 0) + 1;
      answered++;
      if (!isOver) read();
    });
  };
  const untilMs = async (ms: number) => sleep(Math.max(0, ms - monotonicMs()));
  const startMs = await started();
  await untilMs(startMs);
  for (let reader = 0; reader < connections; reader++) read();
  await untilMs(startMs + uncountedSeconds * 1_000);
  const [fromMs, before] = [monotonicMs(), answered];
  await untilMs(fromMs + seconds * 1_000);
  const perSecond = ((answered - before) / (monotonicMs() - fromMs)) * 1_000;
  isOver = true;
  readers.close();
  return { perSecond, answers };
});

/**
 * One listening socket, taken in from at several places. The event loop accepts a single connection a turn and socket
 * it watches (libuv 1.45 and later, pull request 3696), and in a rush a turn takes tens of milliseconds: a thousand
 * buyers who come in one second would stand before the door for half a minute, unanswered and unrefused. Further
 * descriptors of the same socket are accepted from as well. Only another process can hand one back, so one is started
 * for a moment.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/** Sends every descriptor back, and ends when its parent has them all. */
const ECHO = "process.on('message', (n, handle) => process.send(n, handle)).on('disconnect', () => process.exit())";
/** A process that has not done it by then never will. */
const PATIENCE_MS = 10_000;

export interface ExtraAcceptors {
  /** Takes no more connections in; resolves when those that came through these have ended. */
  close(): Promise<void>;
}

const NONE: ExtraAcceptors = { close: async () => {} };

/**
 * Accepts from a server's socket through `count` more descriptors.
 * @param server listens, and gets the connections as if they were its own
 * @returns none where a system cannot pass descriptors on: connections are then taken in one a turn
 */
export async function addAcceptors(server: Server, count: number): Promise<ExtraAcceptors> {
  if (count === 0 || process.platform === "win32") return NONE;
  const handles = await copiesOf(handleOf(server), count);
  const further = handles.map((handle) => {
    const own = createServer({ allowHalfOpen: true, noDelay: true }, (socket: Socket) =>
      server.emit("connection", socket),
    );
    // One that cannot be listened on is one less.
    own.on("error", () => {});
    return own.listen(handle);
  });
  return {
    async close() {
      await Promise.all(further.map((own) => new Promise<void>((resolve) => own.close(() => resolve()))));
    },
  };
}

/** What Node passes between processes; left out of its types. */
type Handle = Server;
const handleOf = (server: Server): Handle => (server as unknown as { _handle: Handle })._handle;

async function copiesOf(handle: Handle, count: number): Promise<Handle[]> {
  const child = spawn(process.execPath, ["-e", ECHO], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    timeout: PATIENCE_MS,
    // A Ctrl-C at the terminal must not end it half-way.
    detached: true,
  });
  const ended = once(child, "exit").catch(() => {});
  const copies: Handle[] = [];
  try {
    await new Promise<void>((resolve) => {
      child.on("message", (_n, copy) => {
        if (copy) copies.push(copy as Handle);
        if (copies.length === count) resolve();
      });
      child.once("disconnect", resolve);
      // While a descriptor is on its way, Node reports no disconnect of a process that has ended.
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
      for (let n = 0; n < count; n++) child.send(n, handle, () => {});
    });
  } finally {
    if (child.connected) child.disconnect();
  }
  await ended;
  return copies;
}

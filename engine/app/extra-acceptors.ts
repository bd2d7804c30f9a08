/**
 * Accepts connections of one listening socket through several descriptors. The event loop accepts a single connection
 * per turn and watched descriptor (libuv 1.45 and later, pull request 3696), and in a rush a turn takes tens of
 * milliseconds: a thousand connections in one second would wait half a minute without any answer. Node can copy a
 * descriptor only by sending it to another process and back, so one is started for a moment.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/** Sends every descriptor back, and exits when its parent has received all. */
const ECHO = "process.on('message', (n, handle) => process.send(n, handle)).on('disconnect', () => process.exit())";
/** After this time the process is ended. */
const CHILD_TIMEOUT_MS = 10_000;

export interface ExtraAcceptors {
  /** Accepts no more connections; resolves when those accepted here have ended. */
  close(): Promise<void>;
}

const NONE: ExtraAcceptors = { close: async () => {} };

/**
 * Accepts from a server's socket through `count` more descriptors.
 * @param server listens, and receives the connections as its own
 * @returns none where the system cannot pass descriptors: connections are then accepted one per turn
 */
export async function addAcceptors(server: Server, count: number): Promise<ExtraAcceptors> {
  if (count === 0 || process.platform === "win32") return NONE;
  const handles = await copiesOf(handleOf(server), count);
  const further = handles.map((handle) => {
    const own = createServer({ allowHalfOpen: true, noDelay: true }, (socket: Socket) =>
      server.emit("connection", socket),
    );
    // A descriptor that cannot be listened on is left out.
    own.on("error", () => {});
    return own.listen(handle);
  });
  return {
    async close() {
      await Promise.all(further.map((own) => new Promise<void>((resolve) => own.close(() => resolve()))));
    },
  };
}

/** What Node passes between processes; missing in its types. */
type Handle = Server;
const handleOf = (server: Server): Handle => (server as unknown as { _handle: Handle })._handle;

async function copiesOf(handle: Handle, count: number): Promise<Handle[]> {
  const child = spawn(process.execPath, ["-e", ECHO], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    timeout: CHILD_TIMEOUT_MS,
    // A Ctrl-C at the terminal must not end it before it is done.
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

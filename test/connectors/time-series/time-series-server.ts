/**
 * A look-alike of a Redis with time series, for tests on machines that have none: a RESP 2 server that implements the
 * few commands that the connector uses as they are documented: TS.CREATE, ALTER, ADD, MADD, RANGE, REVRANGE, DEL, INFO
 * and COMMAND INFO, with duplicate policies and a retention that counts from the newest sample. It shows that the
 * client's code runs and is understood, not that a real module behaves so: that is shown with SHUIWEI_TEST_TS_REDIS.
 */
import { createServer, type Server, type Socket } from "node:net";

interface Series {
  retentionMs: number;
  policy: string;
  readonly samples: Map<number, number>;
}

type Reply = string | number | null | { error: string } | { status: string } | Reply[];

const OK: Reply = { status: "OK" };
const error = (text: string): Reply => ({ error: text });
const NO_KEY = error("ERR TSDB: the key does not exist");

export class TimeSeriesServer {
  readonly #series = new Map<string, Series>();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(): Promise<TimeSeriesServer> {
    const made = new TimeSeriesServer();
    await new Promise<void>((resolve) => made.#server.listen(0, "127.0.0.1", resolve));
    return made;
  }

  get url(): string {
    const address = this.#server.address();
    return `redis://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }

  /** Closes every connection, as a restart does. */
  disconnect(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.disconnect();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => {});
    let pending = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      pending = Buffer.concat([pending, bytes]);
      for (let found = takeCommand(pending); found; found = takeCommand(pending)) {
        pending = pending.subarray(found.length);
        socket.write(encode(this.#answer(found.words)));
      }
    });
  }

  #answer([name = "", ...args]: string[]): Reply {
    const command = name.toUpperCase();
    if (command === "PING") return { status: "PONG" };
    if (command === "CLIENT" || command === "SELECT") return OK;
    if (command === "COMMAND")
      return args
        .slice(1)
        .map((each) => (/^ts\.(add|madd)$/i.test(each) ? [each.toLowerCase(), -4, [], 1, 1, 1] : null));
    if (command === "TS.CREATE") return this.#create(args);
    if (command === "TS.ALTER") return this.#alter(args);
    if (command === "TS.ADD") return this.#add(args[0] as string, Number(args[1]), Number(args[2]), true);
    if (command === "TS.MADD") {
      const replies: Reply[] = [];
      for (let i = 0; i < args.length; i += 3)
        replies.push(this.#add(args[i] as string, Number(args[i + 1]), Number(args[i + 2]), false));
      return replies;
    }
    if (command === "TS.RANGE" || command === "TS.REVRANGE") return this.#range(args, command === "TS.REVRANGE");
    if (command === "TS.DEL") return this.#delete(args);
    if (command === "TS.INFO") return this.#info(args[0] as string);
    return error(`ERR unknown command '${name}'`);
  }

  #create([key = "", ...options]: string[]): Reply {
    if (this.#series.has(key)) return error("ERR TSDB: key already exists");
    this.#series.set(key, {
      retentionMs: Number(optionOf(options, "RETENTION") ?? 0),
      policy: optionOf(options, "DUPLICATE_POLICY") ?? "BLOCK",
      samples: new Map(),
    });
    return OK;
  }

  #alter([key = "", ...options]: string[]): Reply {
    const series = this.#series.get(key);
    if (!series) return NO_KEY;
    series.retentionMs = Number(optionOf(options, "RETENTION") ?? series.retentionMs);
    series.policy = optionOf(options, "DUPLICATE_POLICY") ?? series.policy;
    return OK;
  }

  #add(key: string, atMs: number, value: number, mayCreate: boolean): Reply {
    if (!this.#series.has(key) && mayCreate) this.#create([key]);
    const series = this.#series.get(key);
    if (!series) return NO_KEY;
    if (!Number.isFinite(value)) return error("ERR TSDB: invalid value");
    const newest = newestOf(series);
    if (series.retentionMs > 0 && newest !== undefined && atMs < newest - series.retentionMs)
      return error("ERR TSDB: Timestamp is older than retention");
    const before = series.samples.get(atMs);
    if (before !== undefined && series.policy.toUpperCase() !== "LAST")
      return error("ERR TSDB: Error at upsert, update is not supported when DUPLICATE_POLICY is set to BLOCK mode");
    series.samples.set(atMs, value);
    return atMs;
  }

  #range([key = "", from = "-", to = "+", ...options]: string[], isReverse: boolean): Reply {
    const series = this.#series.get(key);
    if (!series) return NO_KEY;
    const newest = newestOf(series) ?? 0;
    const oldest = series.retentionMs > 0 ? newest - series.retentionMs : Number.NEGATIVE_INFINITY;
    const [fromMs, toMs] = [from === "-" ? 0 : Number(from), to === "+" ? Number.POSITIVE_INFINITY : Number(to)];
    const found = [...series.samples].filter(([atMs]) => atMs >= Math.max(fromMs, oldest) && atMs <= toMs);
    found.sort(([a], [b]) => (isReverse ? b - a : a - b));
    const count = Number(optionOf(options, "COUNT") ?? found.length);
    return found.slice(0, count).map(([atMs, value]) => [atMs, { status: String(value) }]);
  }

  #delete([key = "", from, to]: string[]): Reply {
    const series = this.#series.get(key);
    if (!series) return NO_KEY;
    const gone = [...series.samples.keys()].filter((atMs) => atMs >= Number(from) && atMs <= Number(to));
    for (const atMs of gone) series.samples.delete(atMs);
    return gone.length;
  }

  #info(key: string): Reply {
    const series = this.#series.get(key);
    if (!series) return NO_KEY;
    return ["totalSamples", series.samples.size, "retentionTime", series.retentionMs, "duplicatePolicy", series.policy];
  }
}

const newestOf = ({ samples }: Series): number | undefined =>
  samples.size === 0 ? undefined : [...samples.keys()].reduce((newest, atMs) => Math.max(newest, atMs), 0);

function optionOf(options: readonly string[], name: string): string | undefined {
  const at = options.findIndex((each) => each.toUpperCase() === name);
  return at < 0 ? undefined : options[at + 1];
}

/** A command at the beginning of some bytes: an array of bulk strings. */
function takeCommand(bytes: Buffer): { words: string[]; length: number } | undefined {
  let at = 0;
  const line = (): string | undefined => {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const text = bytes.toString("utf8", at, end);
    at = end + 2;
    return text;
  };
  const count = line();
  if (count === undefined) return undefined;
  const words: string[] = [];
  for (let i = 0; i < Number(count.slice(1)); i++) {
    const head = line();
    if (head === undefined) return undefined;
    const length = Number(head.slice(1));
    if (bytes.length < at + length + 2) return undefined;
    words.push(bytes.toString("utf8", at, at + length));
    at += length + 2;
  }
  return { words, length: at };
}

function encode(reply: Reply): string {
  if (reply === null) return "*-1\r\n";
  if (typeof reply === "number") return `:${reply}\r\n`;
  if (typeof reply === "string") return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`;
  if (Array.isArray(reply)) return `*${reply.length}\r\n${reply.map(encode).join("")}`;
  return "error" in reply ? `-${reply.error}\r\n` : `+${reply.status}\r\n`;
}

/**
 * Connections of simulated processes to a real Redis. A call waits until the driver, by a seeded draw, makes Redis
 * execute it, delivers its reply, or advances the time, so the seed determines the order of all events. A fault may
 * occur at any call: the process ends before or after it, the connection breaks before or after it, the reply is lost,
 * the call is executed twice, or long after its process stopped waiting. Connections keep the order of their calls, as
 * real ones do; a call is late only when its connection is closed. Functions that would use the server's time get the
 * simulation's time.
 */
import type { Random } from "../../engine/kernel/random.js";
import { plainNameOf } from "../../engine/stream/library.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import { SimulatedProcess } from "./simulated-process.js";
import type { Alarm, VirtualTime } from "./virtual-time.js";

export const FAULTS = [
  "crash before",
  "crash after",
  "error before",
  "error after",
  "reply lost",
  "twice",
  "late",
  "freeze",
  "stop",
  "all connections lost",
  "newest writes lost",
] as const;
/** Before the call, every call that is put off is executed; only fault sources that aim use it. */
export const LATE_FIRST = "late calls first";
export type FaultKind = (typeof FAULTS)[number] | typeof LATE_FIRST;

/** Returns the fault of a call, by the call's number in the run. */
export type FaultSource = (operation: Operation, number: number) => FaultKind | undefined;

/** One pending call. */
export interface Operation {
  readonly process: SimulatedProcess;
  readonly method: string;
  /** The name of a function or of a command. */
  readonly name: string;
  readonly args: unknown[];
  readonly settle: (outcome: Outcome) => void;
  /** Set when Redis has executed it and the reply is pending. */
  outcome?: Outcome;
  /** A read that waits for new entries. */
  isBlocked?: boolean;
}

export type Outcome = { reply: unknown } | { error: Error };

/** Receives what Redis executes, in order. */
export interface Observer {
  before(operation: Operation): Promise<void> | undefined;
  after(operation: Operation, reply: unknown): void;
  /** Another server takes over without the newest writes. Returns which calls go to it: their connections break. */
  loseWrites(): Promise<(operation: Operation) => boolean>;
}

export interface FaultyRedisOptions {
  client: RedisClient;
  time: VirtualTime;
  random: Random;
  faults: FaultSource;
  observer: Observer;
  /** How long a process waits for a reply before it gives the call up. */
  timeoutMs: number;
  /** The longest delay of a late call, and the longest freeze of a process. */
  longestMs: number;
  /** Keeps the text of the trace, not only its hash. */
  isVerbose: boolean;
}

/**
 * Index of each function's time argument; '' there means the server's time, `~…` the server's time with a comparison.
 */
const CLOCK_ARGUMENT: Readonly<Record<string, number>> = {
  task_acquire: 2,
  task_renew: 3,
  task_commit: 4,
  workers_join: 2,
  stock_apply: 0,
  stock_tick: 0,
  stock_apply_breaker: 0,
  stock_set_breaker: 0,
  events_append: 0,
  events_tick: 0,
  events_fire: 0,
  events_forward: 0,
  events_replay: 0,
};
/** Functions that append to the log of an event topic; each returns the log's last offset first, or alone. */
const APPENDS_EVENTS = new Set(["events_append", "events_tick", "events_fire", "events_forward", "events_replay"]);
/** How often the time advances although a call could be executed: one step in this number. */
const TIME_FIRST = 10;
/** How often a reply stays pending while others act: one call in this number. */
const SLOW_REPLY = 4;

const CLOSED = "Connection is closed.";
const TIMED_OUT = "Command timed out";

interface Connection {
  readonly process: SimulatedProcess;
  queue: Operation[];
  isClosed: boolean;
}

type Action =
  | { what: "do"; connection: Connection; operation: Operation }
  | { what: "reply"; connection: Connection; operation: Operation }
  | { what: "late"; operation: Operation };

export class FaultyRedis {
  /** Calls that reached their turn so far, faults included. */
  calls = 0;
  readonly injected = new Map<FaultKind, number>();
  readonly trace: string[] = [];
  /** A hash of the trace. */
  hash = 0;
  readonly #options: FaultyRedisOptions;
  #connections: Connection[] = [];
  /** Late calls that are due, and those that are not, each with its alarm. */
  readonly #late: Operation[] = [];
  readonly #lateToCome = new Map<Operation, Alarm>();
  /** The last offset of each log, from the replies of functions. */
  readonly #offsets = new Map<string, number>();

  constructor(options: FaultyRedisOptions) {
    this.#options = options;
  }

  /** Whether a call that was given up may still be executed. */
  get hasLate(): boolean {
    return this.#lateToCome.size > 0 || this.#late.length > 0;
  }

  process(name: string): SimulatedProcess {
    const process = new SimulatedProcess(name, this.#options.time);
    process.onEnd(() => this.#dropCallsOf(process));
    return process;
  }

  /** Opens a connection of a process. */
  connect(process: SimulatedProcess): RedisClient {
    const connection: Connection = { process, queue: [], isClosed: false };
    this.#connections.push(connection);
    const close = () => {
      connection.isClosed = true;
      this.#break(connection);
      this.#connections = this.#connections.filter((other) => other !== connection);
    };
    return new Proxy({} as RedisClient, {
      get: (_, method) => {
        if (typeof method !== "string" || method === "then") return undefined;
        if (method === "disconnect") return close;
        return (...args: unknown[]) => this.#call(connection, method, args);
      },
    });
  }

  /** Ends all processes. */
  end(): void {
    for (const { process } of [...this.#connections]) process.end();
  }

  /** Executes one action. */
  async step(): Promise<void> {
    const { time, random } = this.#options;
    await settled();
    const actions = this.#actions();
    if (actions.length === 0 || random.below(TIME_FIRST) === 0) {
      if (time.advance()) return;
      if (actions.length === 0) throw new Error("no action and no alarm is left");
    }
    const action = random.pick(actions);
    const { operation } = action;
    if (action.what === "late") {
      this.#late.splice(this.#late.indexOf(operation), 1);
      await this.#perform(operation, "late");
    } else if (action.what === "reply") {
      action.connection.queue.shift();
      this.#traceCall(operation, "reply");
      operation.settle(operation.outcome as Outcome);
    } else await this.#do(action.connection, operation);
  }

  #actions(): Action[] {
    const actions: Action[] = this.#late.map((operation) => ({ what: "late", operation }));
    for (const connection of this.#connections) {
      const { process, queue } = connection;
      if (!process.isAlive || queue.length === 0) continue;
      const isFrozen = process.isFrozen;
      const [first] = queue;
      if (first?.outcome && !isFrozen) actions.push({ what: "reply", connection, operation: first });
      const next = queue.find(({ outcome }) => !outcome);
      if (next && !next.isBlocked && !(isFrozen && process.isMute))
        actions.push({ what: "do", connection, operation: next });
    }
    return actions;
  }

  #call(connection: Connection, method: string, args: unknown[]): Promise<unknown> {
    const { process } = connection;
    return new Promise((resolve, reject) => {
      // Calls of an ended process are ignored.
      if (!process.isAlive) return;
      if (connection.isClosed) return reject(new Error(CLOSED));
      const settle = (outcome: Outcome) => {
        if (!process.isAlive) return;
        if ("error" in outcome) reject(outcome.error);
        else resolve(outcome.reply);
      };
      const name = method.startsWith("fcall") ? plainNameOf(String(args[0])) : method.replace("Buffer", "");
      connection.queue.push({ process, method, name, args, settle });
    });
  }

  /** Executes a call, or injects a fault. */
  async #do(connection: Connection, operation: Operation): Promise<void> {
    const { faults, random, time, longestMs } = this.#options;
    const fault = faults(operation, this.calls++);
    if (fault) this.injected.set(fault, (this.injected.get(fault) ?? 0) + 1);
    const { process } = operation;
    switch (fault) {
      case undefined:
        await this.#answer(connection, operation);
        return;
      case "crash before":
        this.#traceCall(operation, fault);
        connection.queue.splice(connection.queue.indexOf(operation), 1);
        process.end();
        return;
      case "crash after":
        await this.#perform(operation, fault);
        connection.queue.splice(connection.queue.indexOf(operation), 1);
        process.end();
        return;
      case "error before":
        this.#traceCall(operation, fault);
        this.#break(connection);
        return;
      case "error after":
        await this.#perform(operation, fault);
        this.#break(connection);
        return;
      case "reply lost":
        await this.#perform(operation, fault);
        this.#giveUp(connection, operation);
        return;
      case "twice": {
        operation.outcome = await this.#perform(operation, fault);
        // Again at once, with either reply, or some time later.
        if (random.below(2) === 0) this.#putOff({ ...operation });
        else {
          const second = await this.#perform(operation, fault);
          if (random.below(2) === 0) operation.outcome = second;
        }
        return;
      }
      case "late":
        this.#traceCall(operation, fault);
        this.#putOff(operation);
        this.#giveUp(connection, operation);
        return;
      case "freeze":
        this.#traceCall(operation, fault);
        process.frozenUntilMs = time.now() + 1 + random.below(longestMs);
        process.isMute = random.below(2) === 0;
        time.after(process.frozenUntilMs - time.now(), () => {});
        return;
      case "stop":
        this.#traceCall(operation, fault);
        process.onStop?.();
        return;
      case "all connections lost":
        this.#traceCall(operation, fault);
        for (const other of [...this.#connections]) this.#break(other);
        return;
      case "newest writes lost":
        this.#traceCall(operation, fault);
        this.#offsets.clear();
        await this.#loseWrites();
        return;
      case LATE_FIRST:
        this.#traceCall(operation, fault);
        for (const [late, alarm] of this.#lateToCome) {
          time.cancel(alarm);
          this.#late.push(late);
        }
        this.#lateToCome.clear();
        for (const late of this.#late.splice(0)) await this.#perform(late, "late");
    }
  }

  /** Executes a call; the reply is delivered at once or later. */
  async #answer(connection: Connection, operation: Operation): Promise<void> {
    const { random, time } = this.#options;
    const outcome = await this.#perform(operation, "do");
    const blockMs = blockMsOf(operation);
    if (blockMs > 0 && "reply" in outcome && outcome.reply === null) {
      if (operation.isBlocked === undefined) {
        const end = () => {
          operation.isBlocked = false;
          operation.outcome ??= { reply: null };
        };
        time.after(blockMs, end, operation.process);
      }
      operation.isBlocked = true;
      return;
    }
    operation.outcome = outcome;
    if (connection.queue[0] !== operation || operation.process.isFrozen || random.below(SLOW_REPLY) === 0) return;
    connection.queue.shift();
    operation.settle(outcome);
  }

  async #perform(operation: Operation, how: string): Promise<Outcome> {
    this.#traceCall(operation, how);
    const { client, observer } = this.#options;
    try {
      await observer.before(operation);
      const reply = await this.#send(client, operation);
      this.#recordOffset(operation, reply);
      observer.after(operation, reply);
      return { reply };
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      // An error reply of Redis is an outcome; any other error is a bug of the simulation.
      if (error.name !== "ReplyError") throw error;
      this.#trace(`  ${error.message}`);
      return { error };
    }
  }

  #send(client: RedisClient, { method, name, args }: Operation): Promise<unknown> {
    const commands = client as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
    if (method === "xreadBuffer") {
      const { key, after, rest } = readOf(args);
      const last = key === undefined ? undefined : this.#offsets.get(key);
      if (last !== undefined && after >= last) return Promise.resolve(null);
      return (commands[method] as (...args: unknown[]) => Promise<unknown>).call(client, ...rest);
    }
    if (method === "time") {
      const now = this.#options.time.now();
      return Promise.resolve([Math.floor(now / 1_000), (now % 1_000) * 1_000]);
    }
    const clockIndex = CLOCK_ARGUMENT[name];
    if (clockIndex !== undefined) {
      const own = [...(args[3] as unknown[])];
      // Callers' clocks agree with the server's.
      if (own[clockIndex] === "" || String(own[clockIndex]).startsWith("~"))
        own[clockIndex] = String(this.#options.time.now());
      return (commands[method] as (...args: unknown[]) => Promise<unknown>).call(
        client,
        args[0],
        args[1],
        args[2],
        own,
      );
    }
    return (commands[method] as (...args: unknown[]) => Promise<unknown>).call(client, ...args);
  }

  /** Unblocks the reads that wait for an entry that a call has appended. */
  #recordOffset({ name, args }: Operation, reply: unknown): void {
    if (reply === null) return;
    const keys = args[2] as string[];
    if (APPENDS_EVENTS.has(name)) {
      const offset = Number([reply].flat()[0]);
      if (offset > 0) this.appended(keys[1] as string, offset);
    } else if (name.startsWith("stock_") && name !== "stock_set_breaker") {
      const position = name === "stock_apply" ? 2 : 1;
      const offset = Number(name === "stock_apply_breaker" ? reply : (reply as unknown[])[position]);
      this.appended(keys[4] as string, offset);
    }
  }

  /** A log has entries up to this offset: ends the reads that wait for one. */
  appended(log: string, offset: number): void {
    this.#offsets.set(log, offset);
    for (const { queue } of this.#connections) {
      for (const operation of queue) {
        if (!operation.isBlocked || operation.outcome) continue;
        const { key, after } = readOf(operation.args);
        if (key === log && after < offset) operation.isBlocked = false;
      }
    }
  }

  /** Ends a connection's calls with an error; later calls use a new connection. */
  #break(connection: Connection, isBroken: (operation: Operation) => boolean = () => true): void {
    const calls = connection.queue.splice(0);
    for (const operation of calls) {
      if (isBroken(operation)) operation.settle({ error: new Error(CLOSED) });
      else connection.queue.push(operation);
    }
  }

  async #loseWrites(): Promise<void> {
    const isOfServer = await this.#options.observer.loseWrites();
    for (const connection of [...this.#connections]) this.#break(connection, isOfServer);
  }

  /**
   * A connection stops delivering: its calls are given up after the timeout. Calls behind the one where it stopped may
   * have been sent, too.
   */
  #giveUp(connection: Connection, at: Operation): void {
    const { time, timeoutMs, random } = this.#options;
    const calls = connection.queue.splice(0);
    const behind = calls.filter((operation) => operation !== at && !operation.outcome);
    const sent = random.below(behind.length + 1);
    for (const operation of behind.slice(0, sent)) this.#putOff(operation);
    for (const operation of calls)
      time.after(timeoutMs, () => operation.settle({ error: new Error(TIMED_OUT) }), operation.process);
  }

  /** Executes the call later, whether or not its process still waits for it. */
  #putOff(operation: Operation): void {
    const { time, random, longestMs } = this.#options;
    const alarm = time.after(1 + random.below(longestMs), () => {
      this.#lateToCome.delete(operation);
      this.#late.push(operation);
    });
    this.#lateToCome.set(operation, alarm);
  }

  /** Calls sent by an ended process are executed late or never. */
  #dropCallsOf(process: SimulatedProcess): void {
    for (const { queue, process: owner } of this.#connections) {
      if (owner !== process) continue;
      const waiting = queue.splice(0).filter(({ outcome, isBlocked }) => !outcome && isBlocked === undefined);
      const sent = this.#options.random.below(waiting.length + 1);
      for (const operation of waiting.slice(0, sent)) this.#putOff(operation);
    }
    this.#connections = this.#connections.filter((connection) => connection.process !== process);
  }

  #traceCall(operation: Operation, what: string): void {
    this.#trace(`${operation.process.name} ${operation.name} ${what}`);
    if (this.#options.isVerbose) this.trace.push(`      ${textOf(operation.args)}`);
  }

  /** Adds a text to the trace. */
  record(text: string): void {
    this.#trace(text);
  }

  #trace(text: string): void {
    const entry = `${this.#options.time.now()} ${text}`;
    for (let i = 0; i < entry.length; i++) this.hash = Math.imul(this.hash ^ entry.charCodeAt(i), 0x01000193);
    if (this.#options.isVerbose) this.trace.push(`${String(this.calls).padStart(5)} ${entry}`);
  }
}

/** Waits two turns of the event loop: everything that can act has acted, including a batch collected for one turn. */
async function settled(): Promise<void> {
  await turn();
  await turn();
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** How long a call waits for entries; 0 for calls that do not block. */
function blockMsOf({ method, args }: Operation): number {
  return method === "xreadBuffer" && args[2] === "BLOCK" ? Number(args[3]) : 0;
}

/**
 * A read of a log: its key, its offset, and its arguments without the blocking option; no key for a read of several.
 */
function readOf(args: readonly unknown[]): { key: string | undefined; after: number; rest: unknown[] } {
  const streams = args.slice(args.indexOf("STREAMS"));
  const key = streams.length === 3 ? (streams[1] as string) : undefined;
  return { key, after: Number.parseInt(streams.at(-1) as string, 10), rest: ["COUNT", args[1], ...streams] };
}

/** Arguments as text for the trace. */
function textOf(args: readonly unknown[]): string {
  const text = (arg: unknown): string =>
    Array.isArray(arg) ? `[${arg.map(text).join(", ")}]` : Buffer.isBuffer(arg) ? `<${arg.length} bytes>` : String(arg);
  return args.slice(1).map(text).join(" ");
}

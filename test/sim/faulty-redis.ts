/**
 * Simulated processes and their connections to a real Redis. A call of a process goes nowhere by itself: it waits
 * until the driver, by a seeded draw, lets Redis do it, hands over its reply or moves the time on, so every order of
 * events comes from the seed and comes again with it. At any call a fault may strike: the process dies before or
 * after it, the connection breaks before or after it, the reply is lost, the call is done twice, or long after its
 * process has given it up. Connections keep the order of their calls as real ones do; what is late is late because
 * its connection is gone. Functions that would ask the server for the time are given the simulation's.
 */
import type { Scheduler } from "../../engine/kernel/clock.js";
import type { Random } from "../../engine/kernel/random.js";
import { plainNameOf } from "../../engine/stream/library.js";
import type { RedisClient } from "../../engine/stream/redis.js";
import type { Sleeper, VirtualTime } from "./virtual-time.js";

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
export type FaultKind = (typeof FAULTS)[number];

/** Says which fault strikes a call, by the call's number in the run. */
export type FaultSource = (operation: Operation, number: number) => FaultKind | undefined;

/** One call under way. */
export interface Operation {
  readonly process: SimulatedProcess;
  readonly method: string;
  /** What is called: a function's name, or a command's. */
  readonly name: string;
  readonly args: unknown[];
  readonly settle: (outcome: Outcome) => void;
  /** Set when Redis has done it and the reply is on its way. */
  outcome?: Outcome;
  /** A read that waits for new entries. */
  isBlocked?: boolean;
}

export type Outcome = { reply: unknown } | { error: Error };

/** Told of what really happens in Redis, in its order. */
export interface Observer {
  before(operation: Operation): Promise<void> | undefined;
  after(operation: Operation, reply: unknown): void;
  /** Another server is to take over without the newest writes. */
  lose(): Promise<void>;
}

export interface FaultyRedisOptions {
  client: RedisClient;
  time: VirtualTime;
  random: Random;
  faults: FaultSource;
  observer: Observer;
  /** How long a process waits for a reply before it gives the call up. */
  timeoutMs: number;
  /** The longest that a late call is under way, and that a process is frozen. */
  longestMs: number;
  /** Keeps the lines of the trace, not only their hash. */
  isVerbose: boolean;
}

/** Where each function takes the time; '' there asks the server, `~…` does and compares. */
const CLOCK_ARGUMENT: Readonly<Record<string, number>> = {
  task_acquire: 2,
  task_renew: 3,
  task_commit: 4,
  workers_join: 2,
  stock_apply: 0,
  stock_tick: 0,
  stock_apply_breaker: 0,
  stock_set_breaker: 0,
};
/** How often the time moves on although something could be done at once: one step in so many. */
const HASTE = 10;
/** How often Redis' reply is on its way while others act: one call in so many. */
const SLOW_REPLY = 4;

const CLOSED = "Connection is closed.";
const TIMED_OUT = "Command timed out";

/** A process: it acts through its connections and its clock, until it dies; then nothing of it acts any more. */
export class SimulatedProcess implements Scheduler, Sleeper {
  readonly name: string;
  isAlive = true;
  frozenUntilMs = 0;
  /** A frozen process' calls that wait are not sent either. */
  isMute = false;
  /** What a `stop` does. */
  onStop: (() => void) | undefined;
  readonly #time: VirtualTime;
  readonly #ends: (() => void)[] = [];

  constructor(name: string, time: VirtualTime) {
    this.name = name;
    this.#time = time;
  }

  now(): number {
    return this.#time.now();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#time.sleep(ms, signal, this);
  }

  get isFrozen(): boolean {
    return this.frozenUntilMs > this.#time.now();
  }

  onEnd(end: () => void): void {
    this.#ends.push(end);
  }

  end(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#time.forget(this);
    for (const end of this.#ends) end();
  }
}

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
  /** Calls that Redis was to do so far. */
  calls = 0;
  readonly struck = new Map<FaultKind, number>();
  readonly trace: string[] = [];
  /** Of everything that has happened. */
  hash = 0;
  readonly #options: FaultyRedisOptions;
  #connections: Connection[] = [];
  /** Calls that were given up and whose time has come, and the number of those to come. */
  readonly #late: Operation[] = [];
  #lateToCome = 0;
  /** The last offset of each log, as far as functions have told. */
  readonly #offsets = new Map<string, number>();

  constructor(options: FaultyRedisOptions) {
    this.#options = options;
  }

  /** Whether a call that was given up may still be done. */
  get hasLate(): boolean {
    return this.#lateToCome > 0 || this.#late.length > 0;
  }

  process(name: string): SimulatedProcess {
    const process = new SimulatedProcess(name, this.#options.time);
    process.onEnd(() => this.#buryCallsOf(process));
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

  /** Ends all processes for good. */
  end(): void {
    for (const { process } of [...this.#connections]) process.end();
  }

  /** Lets one thing happen. */
  async step(): Promise<void> {
    const { time, random } = this.#options;
    await settled();
    const actions = this.#actions();
    if (actions.length === 0 || random.below(HASTE) === 0) {
      if (time.advance()) return;
      if (actions.length === 0) throw new Error("nothing is left to happen");
    }
    const action = random.pick(actions);
    const { operation } = action;
    if (action.what === "late") {
      this.#late.splice(this.#late.indexOf(operation), 1);
      await this.#perform(operation, "late");
    } else if (action.what === "reply") {
      action.connection.queue.shift();
      this.#note(operation, "reply");
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
      // What is left of a dead process gets no answer and does nothing.
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

  /** Redis' turn at a call, or a fault's. */
  async #do(connection: Connection, operation: Operation): Promise<void> {
    const { faults, random, time, longestMs, observer } = this.#options;
    const fault = faults(operation, this.calls++);
    if (fault) this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1);
    const { process } = operation;
    switch (fault) {
      case undefined:
        await this.#answer(connection, operation);
        return;
      case "crash before":
        this.#note(operation, fault);
        connection.queue.splice(connection.queue.indexOf(operation), 1);
        process.end();
        return;
      case "crash after":
        await this.#perform(operation, fault);
        connection.queue.splice(connection.queue.indexOf(operation), 1);
        process.end();
        return;
      case "error before":
        this.#note(operation, fault);
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
        // Once more at once, with either reply, or some time later.
        if (random.below(2) === 0) this.#putOff({ ...operation });
        else {
          const second = await this.#perform(operation, fault);
          if (random.below(2) === 0) operation.outcome = second;
        }
        return;
      }
      case "late":
        this.#note(operation, fault);
        this.#putOff(operation);
        this.#giveUp(connection, operation);
        return;
      case "freeze":
        this.#note(operation, fault);
        process.frozenUntilMs = time.now() + 1 + random.below(longestMs);
        process.isMute = random.below(2) === 0;
        time.after(process.frozenUntilMs - time.now(), () => {});
        return;
      case "stop":
        this.#note(operation, fault);
        process.onStop?.();
        return;
      case "all connections lost":
        this.#note(operation, fault);
        for (const other of [...this.#connections]) this.#break(other);
        return;
      case "newest writes lost":
        this.#note(operation, fault);
        for (const other of [...this.#connections]) this.#break(other);
        this.#offsets.clear();
        await observer.lose();
    }
  }

  /** Does a call; the reply comes at once or in its turn. */
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
    this.#note(operation, how);
    const { client, observer } = this.#options;
    try {
      await observer.before(operation);
      const reply = await this.#send(client, operation);
      this.#learn(operation, reply);
      observer.after(operation, reply);
      return { reply };
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      // What Redis refuses is an answer; anything else is the simulation's own fault.
      if (error.name !== "ReplyError") throw error;
      this.#noteText(`  ${error.message}`);
      return { error };
    }
  }

  #send(client: RedisClient, { method, name, args }: Operation): Promise<unknown> {
    const commands = client as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
    if (method === "xreadBuffer") {
      const { key, after, rest } = readOf(args);
      const last = this.#offsets.get(key);
      if (last !== undefined && after >= last) return Promise.resolve(null);
      return (commands[method] as (...args: unknown[]) => Promise<unknown>).call(client, ...rest);
    }
    const position = CLOCK_ARGUMENT[name];
    if (position !== undefined) {
      const own = [...(args[3] as unknown[])];
      // Callers' clocks agree with the server's.
      if (own[position] === "" || String(own[position]).startsWith("~"))
        own[position] = String(this.#options.time.now());
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

  /** Wakes the reads that wait for what a call has appended. */
  #learn({ name, args }: Operation, reply: unknown): void {
    if (!name.startsWith("stock_") || name === "stock_set_breaker" || reply === null) return;
    const log = (args[2] as string[])[4] as string;
    const offset = Number(
      name === "stock_apply_breaker" ? reply : (reply as unknown[])[name === "stock_apply" ? 2 : 1],
    );
    this.#offsets.set(log, offset);
    for (const { queue } of this.#connections) {
      for (const operation of queue) {
        if (!operation.isBlocked || operation.outcome) continue;
        const { key, after } = readOf(operation.args);
        if (key === log && after < offset) operation.isBlocked = false;
      }
    }
  }

  /** Ends a connection's calls with an error; the next ones have a new connection. */
  #break(connection: Connection): void {
    for (const operation of connection.queue.splice(0)) operation.settle({ error: new Error(CLOSED) });
  }

  /**
   * A connection has fallen silent: its calls are given up after the timeout. Those behind the one it fell silent at
   * may have been sent, too.
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

  /** The call will be done some time, whoever still waits for it. */
  #putOff(operation: Operation): void {
    const { time, random, longestMs } = this.#options;
    this.#lateToCome++;
    time.after(1 + random.below(longestMs), () => {
      this.#lateToCome--;
      this.#late.push(operation);
    });
  }

  /** What a dead process has sent is done late or never, in its order on each connection. */
  #buryCallsOf(process: SimulatedProcess): void {
    for (const { queue, process: owner } of this.#connections) {
      if (owner !== process) continue;
      const waiting = queue.splice(0).filter(({ outcome, isBlocked }) => !outcome && isBlocked === undefined);
      const sent = this.#options.random.below(waiting.length + 1);
      for (const operation of waiting.slice(0, sent)) this.#putOff(operation);
    }
    this.#connections = this.#connections.filter((connection) => connection.process !== process);
  }

  #note(operation: Operation, what: string): void {
    this.#noteText(`${operation.process.name} ${operation.name} ${what}`);
    if (this.#options.isVerbose) this.trace.push(`      ${textOf(operation.args)}`);
  }

  /** Adds to the trace whatever else happens. */
  tell(text: string): void {
    this.#noteText(text);
  }

  #noteText(text: string): void {
    const line = `${this.#options.time.now()} ${text}`;
    for (let i = 0; i < line.length; i++) this.hash = Math.imul(this.hash ^ line.charCodeAt(i), 0x01000193);
    if (this.#options.isVerbose) this.trace.push(`${String(this.calls).padStart(5)} ${line}`);
  }
}

/** Two turns of the event loop: whoever can act has acted by then, a batch that gathers for one turn included. */
async function settled(): Promise<void> {
  await turn();
  await turn();
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** How long a call waits for entries; 0 for all that do not wait. */
function blockMsOf({ method, args }: Operation): number {
  return method === "xreadBuffer" && args[2] === "BLOCK" ? Number(args[3]) : 0;
}

/** A read of a log: after which offset, and the same without waiting. */
function readOf(args: readonly unknown[]): { key: string; after: number; rest: unknown[] } {
  const [key, id] = args.slice(-2) as [string, string];
  return { key, after: Number.parseInt(id, 10), rest: ["COUNT", args[1], "STREAMS", key, id] };
}

/** Arguments as a reader of the trace wants them. */
function textOf(args: readonly unknown[]): string {
  const text = (arg: unknown): string =>
    Array.isArray(arg) ? `[${arg.map(text).join(", ")}]` : Buffer.isBuffer(arg) ? `<${arg.length} bytes>` : String(arg);
  return args.slice(1).map(text).join(" ");
}

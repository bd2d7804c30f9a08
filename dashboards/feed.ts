/**
 * The contract of feeds: what a screen can subscribe to, by name. A feed opens one state for each distinct set of
 * parameters; the gateway asks it for changes on every tick and sends the same bytes to all its clients. Parameters
 * have fixed lists of values, so the number of states is bounded. A feed has no socket, no client and no timer, and it
 * does not guarantee that every state is sent: only the newest is.
 */

/** The roles of the HTTP interface, in ascending order; each includes those before it. */
export type FeedRole = "read" | "order" | "operate" | "admin";

/** Every parameter of the feed with a value from its list. */
export type FeedParameters = Readonly<Record<string, string | number>>;

/**
 * What a frame carries: plain values that msgpack can encode. Every value is absolute, so that applying a body twice,
 * or a later one without an earlier one, never makes a figure wrong.
 */
export type FeedBody = object;

/**
 * What the clients of one feed with one set of parameters have been sent. Neither method may block or throw, and the
 * bodies that they return must not change afterwards.
 */
export interface FeedState {
  /**
   * Reads the present values. The gateway calls it once a tick while there are clients, and before the first snapshot
   * after a time without.
   * @param nowMs real time, for pacing: it does not go backwards and means nothing outside the process
   * @returns what has changed since the last call, or undefined for nothing
   */
  advance(nowMs: number): FeedBody | undefined;
  /** The whole state as of the last `advance`; replaces all that a client received before. */
  snapshot(): FeedBody;
}

export interface Feed {
  /** 1 to 32 of a-z, 0-9 and hyphens; part of the protocol, so it does not change. */
  readonly name: string;
  /** The role that a client needs to subscribe. */
  readonly role: FeedRole;
  /** The values of each parameter; a client that leaves one out gets the first. At most MAX_STATES in combination. */
  readonly parameters?: Readonly<Record<string, readonly (string | number)[]>>;
  open(parameters: FeedParameters): FeedState;
}

/** States of one feed. Each is read on every tick and kept until the process ends. */
const MAX_STATES = 16;

const NAME = /^[a-z0-9-]{1,32}$/;
const PARAMETER = /^[a-zA-Z][a-zA-Z0-9]{0,31}$/;

/** What is wrong with a feed's definition, or undefined. */
export function feedFault({ name, parameters = {} }: Feed): string | undefined {
  if (!NAME.test(name)) return `the feed's name ${JSON.stringify(name)} is not 1 to 32 of a-z, 0-9 and hyphens`;
  let states = 1;
  for (const [parameter, values] of Object.entries(parameters)) {
    if (parameter === "name" || !PARAMETER.test(parameter))
      return `the feed ${name}: a parameter cannot be called ${JSON.stringify(parameter)}`;
    if (values.length === 0) return `the feed ${name}: the parameter ${parameter} has no values`;
    states *= values.length;
  }
  return states > MAX_STATES ? `the feed ${name}: ${states} sets of parameters, more than ${MAX_STATES}` : undefined;
}

/** Completes the parameters that a client gave. @returns undefined when one is not known or its value not allowed */
export function resolveParameters(
  { parameters = {} }: Feed,
  given: Readonly<Record<string, unknown>>,
): FeedParameters | undefined {
  for (const name of Object.keys(given)) if (!Object.hasOwn(parameters, name)) return undefined;
  const resolved: Record<string, string | number> = {};
  for (const [name, values] of Object.entries(parameters)) {
    const value = Object.hasOwn(given, name) ? values.find((allowed) => allowed === given[name]) : values[0];
    if (value === undefined) return undefined;
    resolved[name] = value;
  }
  return resolved;
}

export interface WholeStateOptions<Body> {
  /** The part whose change is sent at once; default: all of it. */
  significant?: (body: Body) => unknown;
  /** The body is sent at least this often; default: only when it has changed. */
  atLeastEveryMs?: number;
}

/** A state whose delta is the whole body: for feeds that are small or seldom change. */
export function wholeState<Body extends FeedBody>(
  read: () => Body,
  { significant = (body) => body, atLeastEveryMs = Number.POSITIVE_INFINITY }: WholeStateOptions<Body> = {},
): FeedState {
  let latest: Body | undefined;
  let sentText: string | undefined;
  let sentAtMs = Number.NEGATIVE_INFINITY;
  return {
    advance(nowMs) {
      latest = read();
      const text = JSON.stringify(significant(latest));
      if (sentText === text && nowMs - sentAtMs < atLeastEveryMs) return undefined;
      sentText = text;
      sentAtMs = nowMs;
      return latest;
    },
    snapshot: () => latest ?? read(),
  };
}

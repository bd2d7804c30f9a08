/**
 * The contract of a channel (R11): an outside system that brings messages to people, such as Web Push or a group robot.
 * A channel sends one message to one address and reports what the outside system answered. Queue, summary, ladder,
 * quiet hours and the limit of each address are the notification job's; leases, order, retries, circuit and dead
 * letters are the outbox's; what connects the two is in `connectors/channels`. Every channel passes the suite in
 * `test/conformance/channel.ts`.
 */
import type { Static, TSchema } from "typebox";
import type { ChannelTraits, Message } from "../engine/alerting/notification.js";
import type { Clock } from "../engine/kernel/clock.js";

/** The outcome of one request. */
export type ChannelOutcome =
  /** The outside system has taken it. `isRepeat`: it has recognised a message that it had already. */
  | { readonly outcome: "accepted"; readonly receipt?: string; readonly isRepeat?: boolean }
  /** It may succeed later. `mayHaveArrived`: no answer came. `throttled`: the system requests a lower rate. */
  | {
      readonly outcome: "retry";
      /** Without secrets. */
      readonly reason: string;
      readonly mayHaveArrived?: boolean;
      readonly throttled?: boolean;
      readonly retryAfterMs?: number;
    }
  /** No further try would change it. `isGone`: the address does not exist any more. */
  | { readonly outcome: "refused"; readonly reason: string; readonly isGone?: boolean };

/** A message for one address, ready to be sent. */
export interface OutgoingMessage {
  readonly message: Message;
  /** The device's id, the user id or the endpoint's name. */
  readonly to: string;
  /** Absolute address of the page about it; undefined when the deployment has no public address. */
  readonly url: string | undefined;
  /** Milliseconds for which it is of use. */
  readonly ttlMs: number;
  readonly urgency: "high" | "normal";
}

/** An open channel. */
export interface OpenChannel {
  /** Sends one request at most. Settles within finite time; a throw counts as `retry`. */
  send(outgoing: OutgoingMessage, signal: AbortSignal): Promise<ChannelOutcome>;
  close?(): unknown;
}

/** An endpoint of the configuration file, with its secrets as texts. */
export interface ConfiguredEndpoint<Settings = unknown> {
  readonly name: string;
  readonly settings: Settings;
}

export interface ChannelParts<Settings = unknown> {
  /** Those of this channel. */
  readonly endpoints: readonly ConfiguredEndpoint<Settings>[];
  readonly clock: Clock;
  /** How long one request may take; left out: as the HTTP client of channels. */
  readonly timeoutMs?: number;
}

/** A channel whose addresses are endpoints of the configuration file. */
export interface ChannelKind<Settings extends TSchema = TSchema> {
  /** Lower-case letters, digits and hyphens: `dingtalk`. */
  readonly name: string;
  /** One line for people. */
  readonly about: string;
  /** Of the field `connection` of an endpoint; secrets in it are `secretText` (configuration/). */
  readonly connection: Settings;
  readonly traits: ChannelTraits;
  /**
   * Its addresses are people's, by the contact of its name (`wecom`); the endpoint of the configuration file is what
   * they are reached through, and no route names it. Left out: an endpoint is an address.
   */
  readonly reachesPeople?: boolean;
  /** The receiving system recognises a message that comes twice, by its id: it is displayed once. */
  readonly recognisesRepeats: boolean;
  /** Requests a second and at once of all workers together, over all endpoints. */
  readonly limits: { readonly perSecond: number; readonly inFlight: number };
  /**
   * Opens it; sends nothing yet.
   * @throws EngineError `bad_input` for what the schema cannot check, with a JSON pointer in `input`
   */
  open(parts: ChannelParts<Static<Settings>>): Promise<OpenChannel>;
}

/** Infers the type of the connection's settings. */
export const defineChannelKind = <const Settings extends TSchema>(kind: ChannelKind<Settings>): ChannelKind =>
  kind as unknown as ChannelKind;

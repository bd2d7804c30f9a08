/**
 * Opens a channel whose addresses are endpoints of the configuration file: checks the URL of each, prepares what is
 * sent to it, and finds the endpoint of a message. A message to an endpoint that the file does not have any more is
 * refused.
 */
import { badInput } from "../../engine/kernel/errors.js";
import type { ChannelOutcome, ChannelParts, OpenChannel, OutgoingMessage } from "../channel.js";
import { ChannelHttp, urlFault } from "./http-client.js";

export interface EndpointChannel<Settings, Target> {
  /** The channel's name, for faults. */
  readonly channel: string;
  /** Connections to one host at most. */
  readonly connections: number;
  urlOf(settings: Settings): string;
  /** Whether an endpoint may be reached without TLS; left out: on this machine only. */
  allowsHttp?(settings: Settings): boolean;
  /** @throws EngineError `bad_input` for what is wrong with an endpoint beside its URL */
  targetOf(settings: Settings, name: string): Target;
  /** Sends one request at most. */
  send(target: Target, outgoing: OutgoingMessage, http: ChannelHttp, signal: AbortSignal): Promise<ChannelOutcome>;
}

/** @throws EngineError `bad_input` with the endpoint in `input` */
export function openEndpoints<Settings, Target>(
  { endpoints, timeoutMs }: ChannelParts<Settings>,
  { channel, connections, urlOf, allowsHttp, targetOf, send }: EndpointChannel<Settings, Target>,
): OpenChannel {
  const targets = new Map(
    endpoints.map(({ name, settings }) => {
      const fault = urlFault(urlOf(settings), { allowsHttp: allowsHttp?.(settings) ?? false });
      if (fault !== undefined) throw badInput(`${channel}.open`, `endpoint ${name} /connection/url`, fault);
      return [name, targetOf(settings, name)] as const;
    }),
  );
  const http = new ChannelHttp({ reach: "any", connections, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  return {
    async send(outgoing, signal) {
      const target = targets.get(outgoing.to);
      if (target === undefined) return { outcome: "refused", reason: "no endpoint has this name", isGone: true };
      return send(target, outgoing, http, signal);
    },
    close: () => http.close(),
  };
}

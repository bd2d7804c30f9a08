/**
 * What the operator's file states about alerts, checked: who is notified of what, and the endpoints of channels that
 * are no person's. Without a file there are no endpoints, and the default ladder of route.ts applies. The file is read
 * by `connectors/channels`; secrets are not part of this.
 */
import type { ChannelTraits } from "./notification.js";
import type { PersonLanguage } from "./people.js";
import type { AlertRoute } from "./route.js";

/** An address of a channel by itself, such as a group robot; routes name it `endpoint:<name>`. */
export interface AlertEndpoint {
  /** Also the address's `to`. */
  readonly name: string;
  readonly channel: string;
  readonly language: PersonLanguage;
  readonly traits: ChannelTraits;
}

export interface AlertsConfiguration {
  /** The deployment's address for links in messages, without a slash at its end. */
  readonly publicUrl: string | undefined;
  readonly routes: readonly AlertRoute[];
  readonly endpoints: readonly AlertEndpoint[];
}

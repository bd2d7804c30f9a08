/**
 * What the phone reads of one alert over HTTP, as connectors/http/schemas states it: what explains it, and who was
 * notified of it. Instants are ISO texts. Further fields are ignored.
 */

/** `GET /v1/alerts/{id}` */
export interface AlertDetails {
  id: string;
  hourUnits?: number;
  dailyAverage?: number;
  thresholdUnits?: number;
  reason?: string;
  value?: number;
  limit?: number;
  outlook?: Outlook;
  silencedUntil?: string;
  /** When the next level is notified. */
  nextLevelAt?: string;
  deliveries?: readonly Delivery[];
}

export interface Outlook {
  sellableUnits: number;
  safetyUnits: number;
  inboundUnits: number;
  minutesLeft?: number | null;
  suggestedUnits?: number | null;
}

/** One message about it to one address. */
export interface Delivery {
  recipient: string;
  channel: string;
  to: string;
  sentAt: string;
  acceptedAt?: string;
  displayedAt?: string;
  failure?: string;
}

/** `GET /v1/ledger/{sku}` */
export interface LedgerAnswer {
  locations: readonly { location: string; sellable: number; reserved: number; committed: number; safety: number }[];
}

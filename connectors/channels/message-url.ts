/**
 * Where the link of a message leads: the phone's page, with the alert when there is only one. The page is the same for
 * everybody; what somebody sees there depends on their session.
 */
import type { Message } from "../../engine/alerting/notification.js";

/** @param publicUrl the deployment's address, without a slash at its end; undefined: there is none */
export function messageUrl(publicUrl: string | undefined, { alerts, total }: Message): string | undefined {
  if (publicUrl === undefined) return undefined;
  const [alert] = alerts;
  return total === 1 && alert ? `${publicUrl}/phone#alert=${encodeURIComponent(alert.id)}` : `${publicUrl}/phone`;
}

/**
 * A push becomes a notification, always: browsers revoke the permission of a site whose pushes show nothing. What
 * cannot be read becomes a general notice. A message about the same alert has the same tag and replaces the earlier
 * notification, so an alert that was acknowledged or cleared elsewhere does not stay on the screen as open.
 */
import { reportDisplayed } from "./beacons.js";
import { notificationOf, payloadOf, textOf } from "./notification.js";
import type { PushEvent, WorkerScope } from "./scope.js";

export async function onPush(event: PushEvent, scope: WorkerScope): Promise<void> {
  const payload = payloadOf(event);
  const [title, options] = notificationOf(payload, navigator.language);
  await scope.registration.showNotification(title, options);
  const messageId = textOf(payload.shuiwei?.messageId);
  const device = textOf(payload.shuiwei?.device);
  if (messageId !== undefined && device !== undefined) await reportDisplayed({ messageId, device }, scope);
}

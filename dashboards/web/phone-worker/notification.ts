/**
 * The notification that a push shows. The payload is one for classic and declarative Web Push; what it lacks, or has
 * in another type, is replaced, so that every push shows something. Pure.
 */

/** The payload: the notification as declarative Web Push has it, and what the report of its display needs. */
export interface Payload {
  notification?: {
    title?: unknown;
    body?: unknown;
    lang?: unknown;
    tag?: unknown;
    navigate?: unknown;
    silent?: unknown;
  };
  shuiwei?: {
    messageId?: unknown;
    device?: unknown;
    alertIds?: unknown;
    /** `change`: an alert was acknowledged or cleared. */
    type?: unknown;
  };
}

/** The notification that a browser has made of a declarative message. */
export type PushedNotification = NonNullable<Payload["notification"]> & { readonly data?: unknown };

interface Pushed {
  readonly data: { json(): unknown } | null;
  readonly notification?: PushedNotification | null;
}

/** What a push contains: its text, or what the browser has read of it; empty when neither can be used. */
export function payloadOf({ data, notification }: Pushed): Payload {
  try {
    const payload = data?.json();
    if (typeof payload === "object" && payload !== null) return payload;
  } catch {
    // No JSON: the browser's notification may still be there.
  }
  if (!notification) return {};
  const { title, body, lang, tag, navigate, silent } = notification;
  const shuiwei = typeof notification.data === "object" ? (notification.data as Payload["shuiwei"] | null) : null;
  return { notification: { title, body, lang, tag, navigate, silent }, ...(shuiwei ? { shuiwei } : {}) };
}

/** What a click needs; it stays with the notification. */
export interface NotificationData {
  navigate: string;
  /** The alert that its button acknowledges; undefined when there is none, or several. */
  alertId: string | undefined;
}

/** Of a push that cannot be read; and the button, in the notification's language. */
const TEXTS = {
  zh: { title: "水位：有新的告警", body: "点按查看", acknowledge: "确认", open: "查看" },
  en: { title: "Shuiwei: a new alert", body: "Tap to see it", acknowledge: "Acknowledge", open: "Open" },
} as const;

export const textOf = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;
const textsOf = (lang: string): (typeof TEXTS)["zh" | "en"] => TEXTS[lang.toLowerCase().startsWith("zh") ? "zh" : "en"];

/** @param language of the browser; the notification's own counts first */
export function notificationOf(
  { notification = {}, shuiwei = {} }: Payload,
  language: string,
): [title: string, options: object] {
  const lang = textOf(notification.lang) ?? language;
  const texts = textsOf(lang);
  const alertIds = Array.isArray(shuiwei.alertIds) ? shuiwei.alertIds.filter((id) => typeof id === "string") : [];
  const isChange = notification.silent === true;
  const [only] = alertIds.length === 1 ? (alertIds as [string]) : [];
  const alertId = isChange ? undefined : only;
  const tag = textOf(notification.tag);
  const navigate =
    textOf(notification.navigate) ?? (only === undefined ? "/phone" : `/phone#alert=${encodeURIComponent(only)}`);
  const actions =
    alertId === undefined
      ? []
      : [
          { action: "acknowledge", title: texts.acknowledge },
          { action: "open", title: texts.open },
        ];
  const data: NotificationData = { navigate, alertId };
  const options = {
    body: textOf(notification.body) ?? texts.body,
    lang,
    icon: "/icons/icon-192.png",
    badge: "/icons/badge-96.png",
    data,
    actions,
    silent: isChange,
    ...(tag === undefined ? {} : { tag, renotify: !isChange }),
  };
  return [textOf(notification.title) ?? texts.title, options];
}

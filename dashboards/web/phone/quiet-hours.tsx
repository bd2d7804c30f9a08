/** The daily time in which warnings wait: on or off, from and to, in the shop's zone. */
import { usePage } from "../page-context.js";
import type { MeAnswer } from "./me.js";
import type { Save } from "./settings.js";

const NIGHT = { fromMinute: 22 * 60, toMinute: 7 * 60 };

const clockText = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;

/** Undefined while the field is empty. */
function minuteOf(clock: string): number | undefined {
  const [hour, minute] = clock.split(":").map(Number);
  return hour === undefined || minute === undefined || Number.isNaN(hour + minute) ? undefined : hour * 60 + minute;
}

export function QuietHours({ person: { quietHours }, onSave }: { person: MeAnswer; onSave: Save }) {
  const { text } = usePage();
  const change = (field: "fromMinute" | "toMinute", value: string) => {
    const minute = minuteOf(value);
    if (minute !== undefined) void onSave({ quietHours: { ...(quietHours ?? NIGHT), [field]: minute } });
  };
  return (
    <section class="phone-card" data-testid="quiet-hours">
      <label class="setting-row">
        <span>
          <b>{text("quietHours")}</b>
          <span class="quiet">{text("quietHoursNote")}</span>
        </span>
        <input
          type="checkbox"
          class="switch"
          checked={quietHours !== undefined}
          onChange={({ currentTarget: { checked } }) => void onSave({ quietHours: checked ? NIGHT : null })}
        />
      </label>
      {quietHours !== undefined && (
        <div class="quiet-times">
          <label>
            <span>{text("quietFrom")}</span>
            <input
              type="time"
              value={clockText(quietHours.fromMinute)}
              onChange={({ currentTarget: { value } }) => change("fromMinute", value)}
            />
          </label>
          <label>
            <span>{text("quietTo")}</span>
            <input
              type="time"
              value={clockText(quietHours.toMinute)}
              onChange={({ currentTarget: { value } }) => change("toMinute", value)}
            />
          </label>
        </div>
      )}
    </section>
  );
}

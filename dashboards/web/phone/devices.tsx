/** The person's devices that receive pushes, with when one was displayed on each; a lost one can be removed. */
import { useState } from "preact/hooks";
import { write } from "../desk/api.js";
import { Loaded } from "../desk/panel.js";
import { useResource } from "../desk/use-resource.js";
import { usePage } from "../page-context.js";

/** `GET /v1/people/me/devices` */
interface DeviceList {
  devices: readonly { id: string; label: string; since: string; displayedAt?: string; silentPushes: number }[];
}

const EVERY_MS = 15_000;

export function Devices() {
  const { text, format } = usePage();
  const list = useResource<DeviceList>("/v1/people/me/devices", EVERY_MS);
  const [fault, setFault] = useState<string>();
  const remove = (id: string) => {
    setFault(undefined);
    write("DELETE", `/v1/people/me/devices/${id}`).then(list.reload, (thrown) =>
      setFault(thrown instanceof Error ? thrown.message : String(thrown)),
    );
  };
  return (
    <section class="phone-card" data-testid="devices">
      <h2>{text("devices")}</h2>
      <Loaded resource={list}>
        {({ devices }) => (
          <ul class="devices">
            {devices.length === 0 && <li class="quiet">{text("devicesEmpty")}</li>}
            {devices.map(({ id, label, displayedAt, silentPushes }) => (
              <li key={id}>
                <span>
                  <b>{label}</b>
                  <span class="quiet">
                    {displayedAt === undefined
                      ? text("deviceNever")
                      : text("deviceSeen", {
                          time: `${format.day(Date.parse(displayedAt))} ${format.minute(Date.parse(displayedAt))}`,
                        })}
                  </span>
                  {silentPushes > 0 && (
                    <span class="quiet" data-tone="warn">
                      {text("deviceSilent", { number: format.units(silentPushes) })}
                    </span>
                  )}
                </span>
                <button
                  type="button"
                  class="icon-button"
                  aria-label={text("removeDevice", { name: label })}
                  onClick={() => remove(id)}
                >
                  <svg viewBox="0 0 24 24" aria-hidden="true">
                    <path d="m6 6 12 12M18 6 6 18" />
                  </svg>
                </button>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
      {fault !== undefined && (
        <p class="fault" role="alert">
          {text("actionFailed", { detail: fault })}
        </p>
      )}
    </section>
  );
}

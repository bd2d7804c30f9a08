/**
 * Acknowledging one alert from a button: sent once, shown as being sent until the live feed has it. A refusal because
 * it was acknowledged or cleared meanwhile is no fault: the feed shows what it is now.
 */
import { useEffect, useState } from "preact/hooks";
import { post, RequestError } from "../desk/api.js";
import type { PhoneAlert } from "./phone-model.js";

/** After this time without the feed's change the button can be pressed again. */
const CONFIRM_MS = 10_000;

export function useAcknowledge({ id, state }: Pick<PhoneAlert, "id" | "state">) {
  const [isSending, setSending] = useState(false);
  const [fault, setFault] = useState<string>();
  useEffect(() => {
    if (!isSending) return;
    if (state !== "fired") return setSending(false);
    const timer = setTimeout(() => setSending(false), CONFIRM_MS);
    return () => clearTimeout(timer);
  }, [isSending, state]);
  const acknowledge = () => {
    setSending(true);
    setFault(undefined);
    post(`/v1/alerts/${encodeURIComponent(id)}/acknowledgement`, {}).catch((thrown) => {
      setSending(false);
      if (thrown instanceof RequestError && thrown.code === "alert_cleared") return;
      setFault(thrown instanceof Error ? thrown.message : String(thrown));
    });
  };
  return { isSending, fault, acknowledge };
}

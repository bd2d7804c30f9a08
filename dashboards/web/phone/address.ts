/**
 * Which screen of the phone is open, from the part of the address after `#`: `#alert=<id>`, `#sku=<sku>`, `#settings`,
 * or `#list`. Notifications link to the same addresses. The browser's back button works, because each screen is an
 * entry of its history.
 */
import { useEffect, useState } from "preact/hooks";

export type Screen =
  | { name: "list" }
  | { name: "alert"; id: string }
  | { name: "sku"; sku: string }
  | { name: "settings" };

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

function screenOf(hash: string): Screen {
  const [name, value = ""] = hash.replace(/^#/, "").split(/=(.*)/s, 2);
  if (name === "settings") return { name };
  if (name === "alert" && value !== "") return { name, id: decode(value) };
  if (name === "sku" && value !== "") return { name, sku: decode(value) };
  return { name: "list" };
}

export const alertHash = (id: string): string => `#alert=${encodeURIComponent(id)}`;

/** The open screen; it changes with the address. */
export function useScreen(): Screen {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const update = () => setHash(location.hash);
    addEventListener("hashchange", update);
    return () => removeEventListener("hashchange", update);
  }, []);
  return screenOf(hash);
}

/** Back to the list: by the history where the page has one, so that the back button does not repeat screens. */
export function openList(): void {
  if (history.state === "from-list") history.back();
  else location.replace("#list");
}

/** Opens a screen from the list. */
export function openFromList(hash: string): void {
  location.hash = hash;
  history.replaceState("from-list", "");
}

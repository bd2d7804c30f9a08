/** One alert. */

import type { Screen } from "./address.js";
import type { PhoneModel } from "./phone-model.js";

export function AlertScreen(_: { screen: Screen; model: PhoneModel; isLive: boolean }) {
  return <p>…</p>;
}

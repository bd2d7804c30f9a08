/**
 * A recipient's ladder of channels for one alert (R11): its addresses are used step by step. The next step begins when
 * no address has displayed the alert within a minute, or at once when every address of the step has failed. It ends
 * when the alert was displayed, acknowledged, cleared or silenced, and with its last step. Warnings begin no step in
 * quiet hours. Pure; what a step sends is put into the queues of its addresses.
 */
import type { Alert } from "../../alerting/alert.js";
import { MINUTE_MS } from "../../kernel/clock.js";
import { dequeue, enqueue, type SendContext } from "./queue.js";
import { type AddressState, addressOf, isOpen, type NotificationsState, type RecordedAlert } from "./state.js";

/** The time for a person to look at a message before another channel is used. */
const STEP_MS = MINUTE_MS;

/** Begins the ladder of an alert, or begins it again: the recipient is notified of it (again). */
export function begin(recorded: RecordedAlert, alert: Alert, level: number, nowMs: number): void {
  Object.assign(recorded, { level, alert, notifiedMs: nowMs, step: -1, nextMs: nowMs, left: [], to: [] });
  recorded.isSilenced = false;
}

/** Ends the ladder: no further step begins. What waits for the alert's addresses still leaves. */
export function end(recorded: RecordedAlert): void {
  recorded.nextMs = null;
  recorded.left = [];
}

/** Ends the ladder, and removes what waits. */
export function withdraw(state: NotificationsState, recorded: RecordedAlert): void {
  end(recorded);
  for (const address of state.addresses) dequeue(address, recorded.number);
}

/** Begins the steps that are due. */
export function climb(state: NotificationsState, context: SendContext): void {
  const { nowMs, quietUntilMs } = context;
  for (const recorded of state.alerts) {
    if (recorded.nextMs === null || recorded.nextMs > nowMs) continue;
    if (quietUntilMs > nowMs && recorded.alert?.severity === "warning") recorded.nextMs = quietUntilMs;
    else beginStep(state, recorded, nowMs);
  }
}

/** Begins the next step that has an address which can be used. */
function beginStep(state: NotificationsState, recorded: RecordedAlert, nowMs: number): void {
  const ladder = state.recipient?.ladder ?? [];
  while (recorded.alert && recorded.step + 1 < ladder.length) {
    const step = ++recorded.step;
    // A step may name an address twice.
    const usable = [...new Set((ladder[step] ?? []).map((address) => addressOf(state, address)))].filter(
      ({ number, goneMs }) => goneMs < recorded.notifiedMs && !recorded.to.includes(number),
    );
    if (usable.length === 0) continue;
    if (step > 0) state.climbs++;
    for (const address of usable) enqueue(address, recorded.number, recorded.alert.severity);
    recorded.left = usable.map(({ number }) => number);
    recorded.to.push(...recorded.left);
    recorded.nextMs = nowMs + STEP_MS;
    return;
  }
  recorded.nextMs = null;
}

/** The alert did not reach an address: the next step begins at once when no other address of the step is left. */
export function failed(state: NotificationsState, recorded: RecordedAlert, address: AddressState, nowMs: number): void {
  const at = recorded.left.indexOf(address.number);
  if (at < 0) return;
  recorded.left.splice(at, 1);
  if (recorded.left.length > 0) return;
  if (recorded.step + 1 >= (state.recipient?.ladder.length ?? 0)) state.unreached++;
  recorded.nextMs = nowMs;
}

/** An address is not used any more: what waits for it is removed, and the ladders of its alerts go on. */
export function abandon(state: NotificationsState, address: AddressState, nowMs: number): void {
  address.goneMs = nowMs;
  const dropped = {
    warnings: [],
    critical: [],
    tests: [],
    changes: [],
    repeats: [],
    unlisted: 0,
    newestUnlisted: null,
  };
  Object.assign(address, dropped);
  for (const recorded of state.alerts) if (isOpen(recorded)) failed(state, recorded, address, nowMs);
}

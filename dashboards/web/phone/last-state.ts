/**
 * The last state that a phone has seen, stored in the browser, so that the page shows something with its age when
 * there is no network. It is small and replaced as a whole. Where storage is switched off there is none.
 */
import type { PhoneModel } from "./phone-model.js";

const STORAGE_KEY = "shuiwei.phone.last";
/** Another shape has another number: what an older page has stored is not read. */
const SHAPE = 1;

export interface LastState {
  model: PhoneModel;
  /** Real time, in ms since the epoch. */
  savedMs: number;
}

/** Now in real time, in ms since the epoch. */
export const realNowMs = (): number => performance.timeOrigin + performance.now();

/** Signing out hides the page, which would store the state again. */
let isDeleted = false;

export function storeLastState(model: PhoneModel): void {
  if (isDeleted) return;
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify({ shape: SHAPE, model, savedMs: realNowMs() }));
  } catch {
    // storage is full or switched off: there is no offline state
  }
}

export function readLastState(): LastState | undefined {
  try {
    const stored = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "null");
    return stored?.shape === SHAPE ? { model: stored.model, savedMs: stored.savedMs } : undefined;
  } catch {
    return undefined;
  }
}

/** When somebody signs out, nothing of the shop stays in the browser; this page stores nothing more. */
export function deleteLastState(): void {
  isDeleted = true;
  try {
    localStorage.removeItem(STORAGE_KEY);
  } catch {
    // storage is switched off: there is nothing
  }
}

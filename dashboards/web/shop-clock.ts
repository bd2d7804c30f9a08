/**
 * The shop's time between frames: it runs at the shop's speed from the last frame and corrects a part of the difference
 * with each new one, so that the seconds are even although frames are not. A large difference (a restart, a replay) is
 * taken over at once. Pure: the caller passes its own monotonic time.
 */

/** A larger difference, in real time, is taken over at once. */
const JUMP_MS = 2_000;
/** The share of a small difference that one frame corrects. */
const CORRECTION = 0.2;

export class ShopClock {
  #baseMs = 0;
  #atMs = 0;
  #speed = 1;
  #set = false;

  /** Records a frame's time: `shopMs` at the page's time `atMs`. */
  observe(shopMs: number, speed: number, atMs: number): void {
    const shown = this.read(atMs);
    const difference = shopMs - shown;
    const jump = !this.#set || speed !== this.#speed || Math.abs(difference) > JUMP_MS * Math.max(1, speed);
    this.#baseMs = jump ? shopMs : shown + difference * CORRECTION;
    this.#atMs = atMs;
    this.#speed = speed;
    this.#set = true;
  }

  /** The shop's time at the page's time `atMs`, in ms since the epoch. */
  read(atMs: number): number {
    return this.#baseMs + (atMs - this.#atMs) * this.#speed;
  }
}

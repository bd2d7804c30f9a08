/**
 * The shop's time between frames: it runs on at the shop's speed from the last frame and is drawn gently towards each
 * new one, so that the seconds flow although frames arrive unevenly. It never runs backwards by less than a jump; a
 * real jump (a restart, a replay) is taken over at once. Pure: the caller passes its own monotonic time.
 */

/** A difference of more real time than this is a jump. */
const JUMP_MS = 2_000;
/** The share of a small difference that one frame corrects. */
const PULL = 0.2;

export class ShopClock {
  #baseMs = 0;
  #atMs = 0;
  #speed = 1;
  #set = false;

  /** A frame said it was `shopMs` when the page's own time was `atMs`. */
  observe(shopMs: number, speed: number, atMs: number): void {
    const shown = this.read(atMs);
    const difference = shopMs - shown;
    const jump = !this.#set || speed !== this.#speed || Math.abs(difference) > JUMP_MS * Math.max(1, speed);
    this.#baseMs = jump ? shopMs : shown + difference * PULL;
    this.#atMs = atMs;
    this.#speed = speed;
    this.#set = true;
  }

  /** The shop's time at the page's time `atMs`, in ms since the epoch. */
  read(atMs: number): number {
    return this.#baseMs + (atMs - this.#atMs) * this.#speed;
  }
}

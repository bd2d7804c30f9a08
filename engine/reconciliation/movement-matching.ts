/**
 * Pairs the effects of events with a source's movements where they share no id: equal units at the same location, at
 * most a tolerance apart in time (R15). As many as possible are paired. For what is left over it tells all that could
 * be left over instead, by exchanging partners: with two equal effects and one movement near both, either may be the
 * one without. Pure.
 */
import type { BookableEvent } from "./divergence-cause.js";
import type { Movement } from "./model.js";

/** An effect of an event at one location. */
export interface Effect {
  readonly bookable: BookableEvent;
  readonly location: string;
  readonly units: number;
  readonly atMs: number;
}

/** The most pairs of effects and movements of the same location and units, each within the tolerance. */
export class Matching {
  readonly openEffects: Effect[] = [];
  readonly openMovements: Movement[] = [];
  readonly #effects: readonly Effect[];
  readonly #movements: readonly Movement[];
  readonly #toleranceMs: number;
  readonly #movementOf = new Map<Effect, Movement>();
  readonly #effectOf = new Map<Movement, Effect>();

  constructor(effects: readonly Effect[], movements: readonly Movement[], toleranceMs: number) {
    this.#effects = [...effects].sort(byTime);
    this.#movements = [...movements].sort(byTime);
    this.#toleranceMs = toleranceMs;
    let [e, m] = [0, 0];
    // With one tolerance for all, pairing in the order of time makes as many pairs as there can be.
    while (e < this.#effects.length || m < this.#movements.length) {
      const [effect, movement] = [this.#effects[e], this.#movements[m]];
      if (effect && movement && this.#isNear(effect, movement)) {
        this.#movementOf.set(effect, movement);
        this.#effectOf.set(movement, effect);
        e++;
        m++;
      } else if (effect && (!movement || effect.atMs < movement.atMs)) {
        this.openEffects.push(effect);
        e++;
      } else {
        this.openMovements.push(movement as Movement);
        m++;
      }
    }
  }

  get pairs(): number {
    return this.#movementOf.size;
  }

  /** Effects of which one has no partner, in whatever way as many as possible are paired; with it itself. */
  couldBeOpenInsteadOf(open: Effect): Effect[] {
    const found = new Set([open]);
    for (const effect of found)
      for (const movement of near(this.#movements, effect.atMs, this.#toleranceMs)) {
        const partner = this.#effectOf.get(movement);
        if (partner) found.add(partner);
      }
    return [...found].sort(byTime);
  }

  /** The same for movements, and the effects near them. */
  couldBeSurplusInsteadOf(open: Movement): { all: Movement[]; near: Effect[] } {
    const [found, effects] = [new Set([open]), new Set<Effect>()];
    for (const movement of found)
      for (const effect of near(this.#effects, movement.atMs, this.#toleranceMs)) {
        effects.add(effect);
        const partner = this.#movementOf.get(effect);
        if (partner) found.add(partner);
      }
    return { all: [...found].sort(byTime), near: [...effects].sort(byTime) };
  }

  #isNear(a: { atMs: number }, b: { atMs: number }): boolean {
    return Math.abs(a.atMs - b.atMs) <= this.#toleranceMs;
  }
}

const byTime = (a: { atMs: number }, b: { atMs: number }): number => a.atMs - b.atMs;

/** Those within the tolerance of an instant; sorted by time. */
function* near<T extends { atMs: number }>(sorted: readonly T[], atMs: number, toleranceMs: number): Generator<T> {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as T).atMs < atMs - toleranceMs) low = middle + 1;
    else high = middle;
  }
  for (let at = low; at < sorted.length && (sorted[at] as T).atMs <= atMs + toleranceMs; at++) yield sorted[at] as T;
}

/**
 * The stock of a sandbox: units by SKU and location, the movements that made them, and when each cell changed. On
 * command it drifts from the truth as real systems do: a booking is lost, made twice, or made at another location.
 * Everything is in memory; the oldest movements are dropped past a limit.
 */
import { type Clock, systemClock } from "../../../engine/kernel/clock.js";

export interface SandboxMovement {
  readonly id: string;
  readonly sku: string;
  readonly location: string;
  readonly units: number;
  readonly atMs: number;
}

export interface SandboxCell {
  readonly sku: string;
  readonly location: string;
  readonly units: number;
  /** Grows with each change of any cell. */
  readonly version: number;
  readonly changedMs: number;
}

/** What goes wrong with the next movement of a SKU. */
export type Drift =
  | { readonly kind: "lose" }
  | { readonly kind: "double" }
  | { readonly kind: "misplace"; readonly location: string };

const MAX_MOVEMENTS = 200_000;

export class SandboxStock {
  readonly #clock: Clock;
  readonly #cells = new Map<string, SandboxCell>();
  readonly #drifts = new Map<string, Drift>();
  #movements: SandboxMovement[] = [];
  #version = 0;

  /** @param clock the outside system's own */
  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  /** All cells, those that changed last at the end. */
  get cells(): readonly SandboxCell[] {
    return [...this.#cells.values()];
  }

  get movements(): readonly SandboxMovement[] {
    return this.#movements;
  }

  unitsOf(sku: string, location: string): number {
    return this.#cells.get(keyOf(sku, location))?.units ?? 0;
  }

  /** Without a movement, as an opening balance. */
  set(sku: string, location: string, units: number): void {
    const key = keyOf(sku, location);
    // Again at the end: `cells` has the order of changes.
    this.#cells.delete(key);
    this.#cells.set(key, { sku, location, units, version: ++this.#version, changedMs: this.#clock.now() });
  }

  /** Books a movement, and what `drift` has ordered for its SKU. */
  move(movement: Omit<SandboxMovement, "atMs"> & { readonly atMs?: number }): void {
    const drift = this.#drifts.get(movement.sku);
    this.#drifts.delete(movement.sku);
    if (drift?.kind === "lose") return;
    this.#book(drift?.kind === "misplace" ? { ...movement, location: drift.location } : movement);
    if (drift?.kind === "double") this.#book({ ...movement, id: `${movement.id}-again` });
  }

  /** Something goes wrong with the next movement of this SKU. */
  drift(sku: string, drift: Drift): void {
    this.#drifts.set(sku, drift);
  }

  #book({
    id,
    sku,
    location,
    units,
    atMs = this.#clock.now(),
  }: Omit<SandboxMovement, "atMs"> & { atMs?: number }): void {
    this.#movements.push({ id, sku, location, units, atMs });
    if (this.#movements.length > MAX_MOVEMENTS) this.#movements = this.#movements.slice(MAX_MOVEMENTS / 2);
    this.set(sku, location, this.unitsOf(sku, location) + units);
  }
}

const keyOf = (sku: string, location: string): string => `${sku}\u001f${location}`;

/**
 * Receipts on their way as a process has them in memory: the fields of the Redis hash, decoded, with what has arrived
 * and the units on their way by SKU. A field that is written or removed changes only its own receipt, so a change does
 * not read all receipts again. Plain memory, without Redis.
 */

export interface Receipt {
  /** 1 to 64 letters, digits and `._-`. */
  readonly id: string;
  readonly sku: string;
  readonly location: string;
  readonly units: number;
  readonly expectedMs: number;
  /** The order's number at the supplier. */
  readonly reference?: string;
}

export interface ReceiptStatus extends Receipt {
  readonly arrivedUnits: number;
  /** Still on their way; 0 when all or more have arrived. */
  readonly remainingUnits: number;
}

export interface StoredArrival {
  readonly units: number;
  readonly commandId: string;
  readonly atMs: number;
  /** The ledger has it. */
  readonly isBooked?: true;
}

const SEPARATOR = "/";

/** The field of an arrival; that of a receipt is its id. */
export const arrivalField = (id: string, arrival: string): string => `${id}${SEPARATOR}${arrival}`;

export class ReceiptList {
  readonly #receipts = new Map<string, Receipt>();
  /** By receipt, then by field. */
  readonly #arrivals = new Map<string, Map<string, StoredArrival>>();
  readonly #statuses = new Map<string, ReceiptStatus>();
  readonly #units = new Map<string, number>();
  #arrivalCount = 0;

  get statuses(): ReadonlyMap<string, ReceiptStatus> {
    return this.#statuses;
  }

  /** By SKU, units on their way. */
  get units(): ReadonlyMap<string, number> {
    return this.#units;
  }

  /** Of all receipts. */
  get arrivalCount(): number {
    return this.#arrivalCount;
  }

  arrivalsOf(id: string): readonly StoredArrival[] {
    return [...(this.#arrivals.get(id)?.values() ?? [])];
  }

  /** Those of a receipt and its arrivals. */
  fieldsOf(id: string): string[] {
    return [...(this.#receipts.has(id) ? [id] : []), ...(this.#arrivals.get(id)?.keys() ?? [])];
  }

  set(field: string, text: string): void {
    const id = idOf(field);
    if (field === id) this.#receipts.set(id, JSON.parse(text) as Receipt);
    else {
      const arrivals = this.#arrivals.get(id) ?? new Map<string, StoredArrival>();
      if (!arrivals.has(field)) this.#arrivalCount++;
      arrivals.set(field, JSON.parse(text) as StoredArrival);
      this.#arrivals.set(id, arrivals);
    }
    this.#refresh(id);
  }

  delete(field: string): void {
    const id = idOf(field);
    const arrivals = this.#arrivals.get(id);
    if (field === id) this.#receipts.delete(id);
    else if (arrivals?.delete(field)) {
      this.#arrivalCount--;
      if (arrivals.size === 0) this.#arrivals.delete(id);
    }
    this.#refresh(id);
  }

  #refresh(id: string): void {
    const before = this.#statuses.get(id);
    if (before) this.#add(before.sku, -before.remainingUnits);
    const receipt = this.#receipts.get(id);
    if (!receipt) {
      this.#statuses.delete(id);
      return;
    }
    let arrivedUnits = 0;
    for (const { units, isBooked } of this.#arrivals.get(id)?.values() ?? []) if (isBooked) arrivedUnits += units;
    const remainingUnits = Math.max(0, receipt.units - arrivedUnits);
    this.#statuses.set(id, { ...receipt, arrivedUnits, remainingUnits });
    this.#add(receipt.sku, remainingUnits);
  }

  #add(sku: string, units: number): void {
    const total = (this.#units.get(sku) ?? 0) + units;
    if (total > 0) this.#units.set(sku, total);
    else this.#units.delete(sku);
  }
}

const idOf = (field: string): string => field.split(SEPARATOR, 1)[0] as string;

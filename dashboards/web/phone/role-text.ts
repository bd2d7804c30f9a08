/** The roles of people as words; a shop's own roles are shown unchanged. */
import type { PlainKey, Translate } from "../dictionary.js";

const ROLES: Readonly<Record<string, PlainKey>> = {
  purchasing: "rolePurchasing",
  warehouse: "roleWarehouse",
  operations: "roleOperations",
};

export const PERSON_ROLES = Object.keys(ROLES);

export function roleText(text: Translate, role: string): string {
  const key = ROLES[role];
  return key === undefined ? role : text(key);
}

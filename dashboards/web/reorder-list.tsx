/**
 * The SKUs to reorder (R7), those with the fewest days of stock first, as rows that desk and phone share: how long the
 * stock lasts, what is sellable and on its way, and how many units to order. A tap on a row shows the SKU.
 */
import type { Resource } from "./desk/use-resource.js";
import { useResource } from "./desk/use-resource.js";
import { usePage } from "./page-context.js";

/** `GET /v1/replenishment` */
interface ReorderAnswer {
  skus: readonly ReorderSku[];
  total: number;
}

interface ReorderSku {
  sku: string;
  sellable: number;
  inbound: number;
  suggestedUnits?: number;
  daysLeft?: number;
}

const EVERY_MS = 30_000;
const DAY_MS = 86_400_000;
/** Less than a day of stock is shown as urgent. */
const URGENT_DAYS = 1;

export const useReorder = (limit: number): Resource<ReorderAnswer> =>
  useResource<ReorderAnswer>(`/v1/replenishment?limit=${limit}`, EVERY_MS);

interface ReorderListProps {
  skus: readonly ReorderSku[];
  onOpen: (sku: string) => void;
}

export function ReorderList({ skus, onOpen }: ReorderListProps) {
  const { text, format } = usePage();
  return (
    <ul class="reorder-list">
      {skus.map(({ sku, sellable, inbound, suggestedUnits, daysLeft }) => (
        <li key={sku}>
          <button type="button" class="reorder" data-testid="reorder" onClick={() => onOpen(sku)}>
            <span class="reorder-what">
              <b class="sku">{sku}</b>
              <small>
                {text("reorderStock", { sellable: format.units(sellable), inbound: format.units(inbound) })}
              </small>
            </span>
            <span class="reorder-left" data-tone={daysLeft !== undefined && daysLeft < URGENT_DAYS ? "alarm" : "calm"}>
              {sellable === 0
                ? format.units(0)
                : daysLeft === undefined
                  ? text("factNone")
                  : format.age(daysLeft * DAY_MS)}
              <small>{text(sellable === 0 ? "factSellable" : "factLeft")}</small>
            </span>
            <span class="reorder-units">
              {suggestedUnits === undefined ? text("factNone") : format.units(suggestedUnits)}
              <small>{text("reorderSuggested")}</small>
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}

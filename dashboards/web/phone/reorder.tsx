/** The phone's section of SKUs to reorder: the most urgent ones, below the open alerts. Nothing when there are none. */
import { usePage } from "../page-context.js";
import { ReorderList, useReorder } from "../reorder-list.js";
import { openFromList } from "./address.js";

const SHOWN = 5;

export function Reorder() {
  const { text, format } = usePage();
  const { answer } = useReorder(SHOWN);
  if (answer === undefined || answer.skus.length === 0) return null;
  return (
    <section class="phone-group" data-group="reorder" aria-labelledby="group-reorder">
      <h2 id="group-reorder">
        {text("reorder")} <b>{format.units(answer.total)}</b>
      </h2>
      <div class="phone-card">
        <ReorderList skus={answer.skus} onOpen={(sku) => openFromList(`#sku=${encodeURIComponent(sku)}`)} />
      </div>
    </section>
  );
}

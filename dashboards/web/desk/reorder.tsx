/** The desk's panel of SKUs to reorder: the most urgent ones, and how many there are. */
import { usePage } from "../page-context.js";
import { ReorderList, useReorder } from "../reorder-list.js";
import { Empty, Loaded, Panel } from "./panel.js";

const SHOWN = 20;

export function Reorder({ onOpen }: { onOpen: (sku: string) => void }) {
  const { text, format } = usePage();
  const list = useReorder(SHOWN);
  const total = list.answer?.total ?? 0;
  return (
    <Panel
      name="reorder"
      title={text("reorder")}
      note={total > 0 && text("reorderNote", { number: format.units(total) })}
    >
      <Loaded resource={list}>
        {({ skus }) =>
          skus.length === 0 ? (
            <Empty title={text("reorderEmpty")}>{text("reorderEmptyNote")}</Empty>
          ) : (
            <ReorderList skus={skus} onOpen={onOpen} />
          )
        }
      </Loaded>
    </Panel>
  );
}

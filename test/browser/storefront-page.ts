/** A shop's page with some SKUs and the module, as a shop would write it. */

export interface StockPageOptions {
  readonly base: string;
  readonly skus: readonly string[];
  readonly mode?: "query" | "publication";
  readonly push: boolean;
  readonly lang?: "zh" | "en";
}

/** Of an element, when the module changes it. */
export interface StockChange {
  readonly sku: string;
  readonly state: "in" | "out" | "checking";
  readonly display?: number | null;
  /** By the machine's clock. */
  readonly atMs: number;
}

export const stockPage = ({
  base,
  skus,
  mode = "query",
  push,
  lang = "en",
}: StockPageOptions): string => `<!doctype html>
<html lang="${lang}">
<body>
${skus.map((sku) => `<p>${sku}: <span data-shuiwei-sku="${sku}"></span></p>`).join("\n")}
<script>
  document.addEventListener("shuiwei-stock", ({ detail }) => reportStock({ ...detail, atMs: Date.now() }));
</script>
<script type="module">
  import { showStock } from "${base}/shuiwei-stock.js";
  window.stock = showStock({ base: "${base}", mode: "${mode}", push: ${push} });
</script>
</body>
</html>`;

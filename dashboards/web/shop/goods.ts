/** The goods of the page, as the demo serves them, and the colour that each is drawn in. */
import { useEffect, useState } from "preact/hooks";

export interface Good {
  readonly sku: string;
  readonly name: { readonly zh: string; readonly en: string };
  readonly section: "limited" | "flash" | "deal" | "popular";
  readonly startMinute: number;
  readonly price: number;
  readonly before: number;
}

/** By the variant, the last two digits of a SKU: ivory, ink black, haze blue, navy and so on. */
const COLOURS = [
  ...["#c9b48a", "#3b4149", "#7d98b3", "#27466e", "#5fb59b", "#7a8446", "#e79ab0", "#ef7f5c"],
  ...["#d9a13b", "#c39a74", "#7b543c", "#8c2f45", "#9a86b8", "#9aa3ab", "#565d66", "#b39b6c"],
];
/** Original, jasmine, osmanthus, oolong and so on. */
const FLAVOURS = [
  ...["#c8a15a", "#7fae6b", "#e2a93b", "#8a6a3c", "#6f9a45", "#6fa8c7", "#dfa12c", "#d9bd2f"],
  ...["#ee9f8d", "#7d5ba6", "#e0556b", "#b9a48c", "#6b4632", "#b8742c", "#4a4a4f", "#b98a50"],
];
const FLAVOURED = new Set(["TEA", "SNK", "NUT"]);

export function tintOf({ sku }: Good): string {
  const tints = FLAVOURED.has(sku.slice(0, 3)) ? FLAVOURS : COLOURS;
  return tints[(Number(sku.slice(-2)) - 1) % tints.length] as string;
}

/** Undefined while they are loaded; an empty list when they could not be. */
export function useGoods(): readonly Good[] | undefined {
  const [goods, setGoods] = useState<readonly Good[]>();
  useEffect(() => {
    const load = async (): Promise<void> => {
      const response = await fetch("/shop/goods.json");
      setGoods(((await response.json()) as { goods: Good[] }).goods);
    };
    load().catch(() => setGoods([]));
  }, []);
  return goods;
}

/** The settings of a category reach all of its SKUs, also just assigned ones, and when two change them at once. */
import { describe, expect, it } from "vitest";
import type { Categories } from "../../../engine/stock/categories.js";
import type { Ledger } from "../../../engine/stock/ledger.js";
import { httpBed, send } from "./http-bed.js";

const bed = httpBed();
const put = (path: string, body: unknown, port = bed.port) => send(port, "PUT", path, { body });
const show = (category: string, displayCoefficient: number, port?: number) =>
  put(`/v1/categories/${category}/settings`, { settings: { displayCoefficient } }, port);
const assign = (sku: string, category: string, port?: number) => put(`/v1/skus/${sku}/settings`, { category }, port);

/** 20 units, of which 10 are reserved: shown are 13 by default, 20 with a coefficient of 1. */
async function stocked(sku: string): Promise<void> {
  await bed.receive(sku, 20);
  expect((await bed.send("POST", "/v1/orders", { body: { lines: [{ sku, units: 10 }] } })).status).toBe(201);
}
const visible = (sku: string, display: number) =>
  expect.poll(() => bed.storefrontView.get(sku)?.total.display, { timeout: 30_000 }).toBe(display);

/** A promise, and what resolves it. */
function gate() {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** The same object, with one method replaced. */
const replacing = <T extends object>(target: T, name: keyof T, method: unknown): T =>
  new Proxy(target, {
    get: (_, asked) => {
      if (asked === name) return method;
      const value = Reflect.get(target, asked, target) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });

describe("the settings of a category", () => {
  it("reach SKUs that were assigned a moment ago, which the view does not have yet", async () => {
    await stocked("NEW");
    await assign("NEW", "new");
    const { storefrontView, oldestAgeMs } = bed.deps();
    let checks = 0;
    const { port } = await bed.another({
      oldestAgeMs: () => (++checks < 3 ? 60_000 : oldestAgeMs()),
      storefrontView: replacing(storefrontView, "skusOf", (category: string) =>
        checks < 3 ? [] : storefrontView.skusOf(category),
      ),
    });
    expect((await show("new", 1, port)).json).toMatchObject({ skus: 1 });
    await visible("NEW", 20);
  });

  it("are not answered as applied while the view is too old to name all of its SKUs", async () => {
    const { port } = await bed.another({ oldestAgeMs: () => 60_000 });
    const answer = await show("old", 1, port);
    expect([answer.status, answer.json.code, answer.headers["retry-after"]]).toEqual([503, "stale_view", "1"]);
  });

  it("are those of the table in the end when two change them at once, whoever is applied last", async () => {
    await stocked("TWO");
    await assign("TWO", "two");
    const [reached, held] = [gate(), gate()];
    const applyMany = async (...args: Parameters<Ledger["applyMany"]>) => {
      reached.open();
      await held.opened;
      return bed.ledger.applyMany(...args);
    };
    const { port } = await bed.another({ ledger: replacing(bed.ledger, "applyMany", applyMany) });
    const slow = show("two", 0, port);
    await reached.opened;
    expect((await show("two", 1)).json).toMatchObject({ skus: 1 });
    await visible("TWO", 20);
    held.open();
    expect((await slow).status).toBe(200);
    await bed.receive("TWO", 1);
    await visible("TWO", 21);
  });

  it("are those of the table in the end for a SKU that joins while they change", async () => {
    await stocked("JOINS");
    await show("joined", 0);
    const { categories } = bed.deps();
    const [reached, held] = [gate(), gate()];
    const get = async (...args: Parameters<Categories["get"]>) => {
      const settings = await categories.get(...args);
      reached.open();
      await held.opened;
      return settings;
    };
    const { port } = await bed.another({ categories: replacing(categories, "get", get) });
    const joining = assign("JOINS", "joined", port);
    await reached.opened;
    expect((await show("joined", 1)).json).toMatchObject({ skus: 1 });
    held.open();
    expect((await joining).status).toBe(200);
    await bed.receive("JOINS", 1);
    await visible("JOINS", 21);
  });
});

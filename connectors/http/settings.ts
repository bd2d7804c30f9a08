/**
 * Settings of SKUs and of categories (R5, R10). Settings are ledger commands, so they apply from one position of the
 * log on, in every process. A category's settings are kept in a table and sent to each of its SKUs; when that was
 * interrupted, setting them again completes it. Of concurrent changes of a category all of its SKUs get what the table
 * holds in the end: who has sent settings compares them with the table afterwards.
 */
import { isDeepStrictEqual } from "node:util";
import type { Static } from "typebox";
import { chainId, chainIdFault } from "../../engine/kernel/chain-id.js";
import { monotonicClock, sleep } from "../../engine/kernel/clock.js";
import { MAX_LAG_MS } from "../../engine/publication/freshness.js";
import { type Cause, type ConfigureSku, isAccepted, type SkuSettings } from "../../engine/stock/model.js";
import { checkedConfigure } from "../../engine/stock/settings.js";
import type { HttpDeps } from "./deps.js";
import { causeOf } from "./identity.js";
import { badInputFault, HttpFault, type ProblemCode, refuse, retryAfter } from "./problem.js";
import { type RouteGroup, TOKEN_NEEDED } from "./route-context.js";
import { SkuParams } from "./schemas/common.js";
import { problems } from "./schemas/problem.js";
import {
  CategoryParams,
  type CategorySettingsBody,
  type SkuSettingsBody,
  settingsSchemas,
} from "./schemas/settings.js";
import { fromStore } from "./store-errors.js";

/** SKUs of a large category in one call, so that orders are not blocked. */
const SKUS_AT_ONCE = 1_000;
/** Each further one is another change of the same category while its SKUs got the one before. */
const MAX_ROUNDS = 10;
const VIEW_CHECK_MS = 20;

export const settingsRoutes: RouteGroup = (server, { deps, authorize, defaultLocation }) => {
  const freshId = () => chainId(deps.channel, deps.clock.now());
  const { skuSettings } = deps;
  const schemas = settingsSchemas(skuSettings);
  const configure = (
    id: string,
    sku: string,
    change: Pick<ConfigureSku, "settings" | "category" | "categorySettings">,
    cause: Cause,
  ): ConfigureSku => ({ kind: "configure", id, sku, location: defaultLocation, ...change, ...cause });

  server.put<{ Params: Static<typeof SkuParams>; Body: SkuSettingsBody }>(
    "/v1/skus/:sku/settings",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["skus"],
        operationId: "updateSkuSettings",
        summary: "Updates the settings of a SKU, from now on",
        description:
          "Fields that are left out do not change. Alert settings apply to the units of an hour (R10), the coefficient to the displayed stock (R5). A category applies its settings; the SKU's own settings have priority.",
        security: TOKEN_NEEDED,
        params: SkuParams,
        body: schemas.skuBody,
        response: { 200: schemas.skuAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { sku } = request.params;
      const { id = freshId(), settings, category } = request.body;
      const cause = causeOf(request, request.body);
      const fault = chainIdFault(id);
      if (fault !== undefined) throw badInputFault([{ field: "id", message: fault }]);
      const change = { settings: settings ?? {}, ...(category && { category }) };
      const command = checkedConfigure(skuSettings, configure(id, sku, change, cause));
      const { outcome, repeated } = await deps.ledger.apply(command);
      if (!isAccepted(outcome)) return refuse(reply, outcome as ProblemCode, `command ${id}`, { id });
      if (category !== undefined) {
        // With an id of its own: the category's settings may have changed when this request is repeated.
        await applyTable(deps, category, (categorySettings) =>
          deps.ledger.apply(configure(freshId(), sku, { settings: {}, categorySettings }, cause)),
        );
      }
      return { id, sku, ...(settings && { settings }), ...(category && { category }), repeated };
    },
  );

  server.put<{ Params: Static<typeof CategoryParams>; Body: CategorySettingsBody }>(
    "/v1/categories/:category/settings",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["skus"],
        operationId: "updateCategorySettings",
        summary: "Replaces the settings of a category, from now on",
        description:
          "They apply to each of its SKUs, except settings that the SKU has itself. The answer waits until the view has every SKU that was assigned before; 503 `stale_view` when that takes more than 4 s: then the settings are stored, but not sent to the SKUs.",
        security: TOKEN_NEEDED,
        params: CategoryParams,
        body: schemas.categoryBody,
        response: { 200: schemas.categoryAnswer, ...problems },
      },
    },
    async (request) => {
      const { category } = request.params;
      const { settings: categorySettings } = request.body;
      const cause = causeOf(request, request.body);
      await fromStore("categories.set", deps.categories.set(category, categorySettings));
      await viewsOfNow(deps);
      let skus = 0;
      await applyTable(deps, category, async (settings) => {
        const change = { settings: {}, categorySettings: settings };
        skus = await applyToMembers(deps, category, (sku) => configure(freshId(), sku, change, cause));
      });
      return { category, settings: categorySettings, skus };
    },
  );
};

/** @returns the number of SKUs */
async function applyToMembers(
  { ledger, storefrontView }: HttpDeps,
  category: string,
  commandOf: (sku: string) => ConfigureSku,
): Promise<number> {
  const skus = storefrontView.skusOf(category);
  for (let first = 0; first < skus.length; first += SKUS_AT_ONCE)
    await ledger.applyMany(skus.slice(first, first + SKUS_AT_ONCE).map(commandOf));
  return skus.length;
}

/**
 * Waits until the view has every SKU that was in its category when this was called. A SKU that joins later reads the
 * table itself.
 */
async function viewsOfNow({ oldestAgeMs }: HttpDeps): Promise<void> {
  const sinceMs = monotonicClock.now();
  for (;;) {
    const nowMs = monotonicClock.now();
    // In this order, so that the view is not taken for newer than it is.
    if (nowMs - oldestAgeMs() > sinceMs) return;
    if (nowMs - sinceMs > MAX_LAG_MS)
      throw new HttpFault(
        "stale_view",
        "the settings are stored, but the view of the category's SKUs is behind; send them again to apply them to all",
        { headers: retryAfter(1) },
      );
    await sleep(VIEW_CHECK_MS);
  }
}

/**
 * Applies the table's settings of a category, again when they were changed meanwhile: otherwise what is applied here
 * could replace newer ones. As they are in the table: a newer process may have set one that is not registered here.
 */
async function applyTable(
  { categories }: HttpDeps,
  category: string,
  apply: (settings: SkuSettings) => Promise<unknown>,
): Promise<void> {
  let settings = await fromStore("categories.get", categories.get(category));
  for (let round = 0; round < MAX_ROUNDS; round++) {
    await apply(settings);
    const present = await fromStore("categories.get", categories.get(category));
    if (isDeepStrictEqual(present, settings)) return;
    settings = present;
  }
  const detail = `the category ${category} was changed ${MAX_ROUNDS} times meanwhile; send the request again`;
  throw new HttpFault("overloaded", detail, { headers: retryAfter(1) });
}

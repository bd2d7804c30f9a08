/**
 * Settings of SKUs and of categories (R5, R10). Settings are ledger commands, so they apply from one position of the
 * log on, in every process. A category's settings are kept in a table and sent to each of its SKUs; when that was
 * interrupted, setting them again completes it.
 */
import type { Static } from "typebox";
import { chainId, chainIdFault } from "../../engine/kernel/chain-id.js";
import { type Cause, type ConfigureSku, isAccepted } from "../../engine/stock/model.js";
import { checkedConfigure } from "../../engine/stock/settings.js";
import { causeOf } from "./identity.js";
import { badInputFault, type ProblemCode, refuse } from "./problem.js";
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
        const categorySettings = await fromStore("categories.get", deps.categories.get(category));
        // As they are in the table: a newer process may have set one that is not registered here.
        await deps.ledger.apply(configure(freshId(), sku, { settings: {}, categorySettings }, cause));
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
        description: "They apply to each of its SKUs, except settings that the SKU has itself.",
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
      const skus = deps.storefrontView.skusOf(category);
      for (let first = 0; first < skus.length; first += SKUS_AT_ONCE) {
        const part = skus.slice(first, first + SKUS_AT_ONCE);
        const change = { settings: {}, categorySettings };
        await deps.ledger.applyMany(
          part.map((sku) => checkedConfigure(skuSettings, configure(freshId(), sku, change, cause))),
        );
      }
      return { category, settings: categorySettings, skus: skus.length };
    },
  );
};

/**
 * Settings of SKUs and of categories (R5, R10), and fresh ids. Settings go through the ledger as commands, so they
 * hold from one point of the log on, in every process. A category's settings are kept in a table and told to each of
 * its SKUs; when that was cut short, setting them again completes it.
 */
import type { Static } from "typebox";
import { chainId, chainIdFault } from "../../engine/kernel/chain-id.js";
import { type Cause, type ConfigureSku, isAccepted } from "../../engine/stock/model.js";
import { causeOf } from "./identity.js";
import { badInputFault, type ProblemCode, refuse } from "./problem.js";
import { assertNoBody, assertQuery, type RouteGroup, readInteger, TOKEN_NEEDED } from "./route-context.js";
import { SkuParams } from "./schemas/common.js";
import { IdList, IdQuery } from "./schemas/orders.js";
import { problems } from "./schemas/problem.js";
import {
  CategoryAnswer,
  CategoryParams,
  CategorySettingsBody,
  SettingsAnswer,
  SkuSettingsBody,
} from "./schemas/settings.js";
import { fromStore } from "./store-errors.js";

/** Of a large category, so that orders get their turn in between. */
const SKUS_AT_ONCE = 1_000;

export const settingsRoutes: RouteGroup = (server, { deps, authorize, defaultLocation }) => {
  const freshId = () => chainId(deps.channel, deps.clock.now());
  const configure = (
    id: string,
    sku: string,
    change: Pick<ConfigureSku, "settings" | "category" | "categorySettings">,
    cause: Cause,
  ): ConfigureSku => ({
    kind: "configure",
    id,
    sku,
    location: defaultLocation,
    ...change,
    ...cause,
  });

  server.put<{ Params: Static<typeof SkuParams>; Body: Static<typeof SkuSettingsBody> }>(
    "/v1/skus/:sku/settings",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["skus"],
        operationId: "updateSkuSettings",
        summary: "Sets options of a SKU from now on",
        description:
          "What is left out stays as it is. Alert options are for an hour's units (R10), the coefficient for display stock (R5). A category brings its settings; the SKU's own go before them.",
        security: TOKEN_NEEDED,
        params: SkuParams,
        body: SkuSettingsBody,
        response: { 200: SettingsAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { sku } = request.params;
      const { id = freshId(), settings, category } = request.body;
      const cause = causeOf(request, request.body);
      const fault = chainIdFault(id);
      if (fault !== undefined) throw badInputFault([{ field: "id", message: fault }]);
      const command = configure(id, sku, { settings: settings ?? {}, ...(category && { category }) }, cause);
      const { outcome, repeated } = await deps.ledger.apply(command);
      if (!isAccepted(outcome)) return refuse(reply, outcome as ProblemCode, `command ${id}`, { id });
      if (category !== undefined) {
        // By an id of its own: what the category says may have changed when this request comes again.
        const categorySettings = await fromStore("categories.get", deps.categories.get(category));
        await deps.ledger.apply(configure(freshId(), sku, { settings: {}, categorySettings }, cause));
      }
      return { id, sku, ...(settings && { settings }), ...(category && { category }), repeated };
    },
  );

  server.put<{ Params: Static<typeof CategoryParams>; Body: Static<typeof CategorySettingsBody> }>(
    "/v1/categories/:category/settings",
    {
      onRequest: authorize("operate"),
      schema: {
        tags: ["skus"],
        operationId: "updateCategorySettings",
        summary: "Sets the options of a category, as a whole, from now on",
        description: "They hold for each of its SKUs where nothing is set for the SKU itself.",
        security: TOKEN_NEEDED,
        params: CategoryParams,
        body: CategorySettingsBody,
        response: { 200: CategoryAnswer, ...problems },
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
        await deps.ledger.applyMany(part.map((sku) => configure(freshId(), sku, change, cause)));
      }
      return { category, settings: categorySettings, skus: skus.length };
    },
  );

  server.post<{ Querystring: Static<typeof IdQuery> }>(
    "/v1/ids",
    {
      onRequest: authorize("order"),
      preValidation: (request, _reply, done) => {
        readInteger(assertQuery(request), "count");
        done();
      },
      schema: {
        tags: ["orders"],
        operationId: "createIds",
        summary: "Fresh chain ids (R4)",
        description:
          "Takes no body. `count` is 1 when left out, `channel` the server's own. Nothing is reserved: an id counts once it is used.",
        security: TOKEN_NEEDED,
        querystring: IdQuery,
        response: { 200: IdList, ...problems },
      },
    },
    (request, reply) => {
      assertNoBody(request.body);
      const { count = 1, channel = deps.channel } = request.query;
      reply.send({ ids: Array.from({ length: count }, () => chainId(channel, deps.clock.now())) });
    },
  );
};

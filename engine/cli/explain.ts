/**
 * `shuiwei explain`: states how the stock of a SKU came to be what it is, or what has happened to an order, in
 * sentences and from the logs alone. It works beside a running engine or without one, and changes nothing. What the
 * logs no longer have is stated, not guessed.
 */
import type { openObjectStore } from "../../connectors/objects/index.js";
import { objectsOptions } from "../../connectors/objects/options.js";
import type { Deployment } from "../app/deployment.js";
import type { Histories } from "../app/histories.js";
import { LANGUAGES, type Language } from "../history/dictionary.js";
import type { Story, StoryOptions } from "../history/story.js";
import { CHAIN_ID_LENGTH, chainIdFault } from "../kernel/chain-id.js";
import { systemClock } from "../kernel/clock.js";
import { badInput, EngineError } from "../kernel/errors.js";
import { instantOf } from "../kernel/instant.js";
import { defineOptions, joinOptions } from "../kernel/options.js";
import { defineCommand } from "./command.js";
import { deploymentOptions } from "./deployment-options.js";

/** Changes of one story, at most. */
const STORY_CHANGES = 1_000;
const DEFAULT_ZONE = "Asia/Shanghai";

export const command = defineCommand({
  name: "explain",
  about: "explain why the stock of a SKU is what it is, or what has happened to an order",
  operands: "SKU|ORDER",
  more: `The story of a SKU ends at --at (now when left out) and begins at --from (a day earlier, or where the log begins): opening balances, every
change with its cause and who did it, closing balances, and what does not add up. A valid order id gives the story of that order, from its beginning to now.

`,
  options: joinOptions(
    deploymentOptions,
    objectsOptions,
    defineOptions({
      at: { type: "string", about: "the story's end: an instant such as 2026-06-18T20:00:00+08:00" },
      from: { type: "string", about: "its beginning" },
      location: { type: "string", about: "only changes at this location" },
      lang: {
        type: "string",
        default: "zh",
        pattern: /zh|en/,
        expects: LANGUAGES.join(" or "),
        about: "language of the story",
      },
      json: { type: "boolean", about: "one line of JSON instead of text" },
    }),
  ),
  /** @throws EngineError `unknown_sku`, `unknown_order`, `outside_retention`, `too_many_entries` */
  async run({ values, operands, signal }) {
    const [what, ...more] = operands;
    if (what === undefined || more.length > 0) throw badInput("explain", "SKU|ORDER", "name one SKU or one order");
    const isOrder = what.length === CHAIN_ID_LENGTH && chainIdFault(what) === undefined;
    for (const option of ["at", "from", "location"] as const)
      if (isOrder && values[option] !== undefined)
        throw badInput("explain", `--${option}`, "is for a SKU: the story of an order is from its beginning to now");
    const toMs = instantIn(values.at, "--at") ?? systemClock.now();
    const fromMs = instantIn(values.from, "--from");
    if (fromMs !== undefined && fromMs > toMs) throw badInput("explain", "--from", "must not be after --at");
    const { withDeployment } = await import("../app/deployment.js");
    await withDeployment("explain", values, async (reached) => {
      const { readSetting } = await import("../stream/settings.js");
      const zone = (await readSetting(reached.redis, values.prefix, "zone")) ?? DEFAULT_ZONE;
      const options: StoryOptions = { language: values.lang as Language, zone };
      const place = { ...reached, prefix: values.prefix };
      const histories = await historiesOf(place, values);
      const story = isOrder
        ? await orderOf(place, histories, what, options, signal)
        : await skuOf(histories, what, { fromMs, toMs, location: values.location }, options, signal);
      const { storyText } = await import("../history/story.js");
      process.stdout.write(values.json ? `${JSON.stringify(story)}\n` : storyText(story));
    });
  },
});

type Place = Deployment & { readonly prefix: string };

/** With the archive, if the deployment has one. */
async function historiesOf(place: Place, values: Parameters<typeof openObjectStore>[0]): Promise<Histories> {
  const [{ makeHistories }, { OrderStore }, { hasArchive }, objects] = await Promise.all([
    import("../app/histories.js"),
    import("../orders/order-store.js"),
    import("../history/archive-head.js"),
    import("../../connectors/objects/index.js"),
  ]);
  const isArchived = await hasArchive(place.redis, { prefix: place.prefix, topic: "stock", partition: 0 });
  const { redis, prefix, partitions } = place;
  const orderStore = new OrderStore({ redis, prefix, partitions, keepSeconds: 0 });
  return makeHistories(place, orderStore, isArchived ? objects.openObjectStore(values) : undefined);
}

async function orderOf(
  place: Place,
  { orders }: Histories,
  id: string,
  options: StoryOptions,
  signal: AbortSignal,
): Promise<Story> {
  const [{ orderStory }, { OrderTracker }] = await Promise.all([
    import("../history/story.js"),
    import("../jobs/order-flow/track.js"),
  ]);
  const history = await orders.read(id, systemClock.now(), signal);
  if (history.outcome !== "found") throw failure("unknown_order", `there is no order ${id}`);
  const { open } = await new OrderTracker(place.redis, place.prefix, place.partitions).track(id);
  return orderStory(history, open, options);
}

async function skuOf(
  { skus, orders }: Histories,
  sku: string,
  span: { fromMs: number | undefined; toMs: number; location: string | undefined },
  options: StoryOptions,
  signal: AbortSignal,
): Promise<Story> {
  const { skuStory } = await import("../history/story.js");
  const found = await skus.read(sku, { ...span, limit: STORY_CHANGES }, signal);
  if (found.outcome === "unknown_sku") throw failure(found.outcome, `no units of ${sku} were ever received`);
  if (found.outcome === "outside_retention")
    throw failure(found.outcome, `the log of ${sku} begins at ${new Date(found.fromMs).toISOString()}`);
  if (found.outcome === "too_many_entries")
    throw failure(found.outcome, `${found.entries} entries would have to be read; at most ${found.limit} are`);
  const { changes, reasons } = await orders.withEvidence(found.changes, signal);
  return skuStory({ ...found, changes }, options, reasons);
}

const failure = (code: string, message: string): EngineError =>
  new EngineError(message, { op: "explain", code, retryable: false });

function instantIn(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const atMs = instantOf(text);
  if (atMs === undefined) throw badInput("explain", option, "must be an instant like 2026-06-18T20:00:00+08:00");
  return atMs;
}

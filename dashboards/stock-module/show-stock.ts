/**
 * `shuiwei-stock.js`, for a shop's own pages: shows stock in every element with `data-shuiwei-sku`, read through the
 * shop's CDN, and "being checked" instead of a number that is not proven to be younger than 15 seconds: after an
 * outage, offline, after a sleep, whatever the device's clock says. It asks nothing while nobody looks. It does not
 * promise that an order will be accepted.
 */
import { jsonFetcher } from "./fetch-json.js";
import { KnownStock } from "./known-stock.js";
import { PushStream } from "./push-stream.js";
import { publicationReader, queryReader } from "./readers.js";
import { Refresher } from "./refresher.js";
import { ServerClock } from "./server-clock.js";
import type { showStock as ShowStock } from "./shuiwei-stock.js";
import { StockElements } from "./stock-elements.js";
import { dictionary } from "./texts.js";

export const showStock: typeof ShowStock = ({ base = "", mode, push = true, lang, texts } = {}) => {
  const language = /^zh/.test(lang ?? document.documentElement.lang) ? "zh" : "en";
  const origin = base.replace(/\/$/, "");
  const clock = new ServerClock();
  const known = new KnownStock(clock);
  const look = (): void => refresher.look();
  const elements = new StockElements({ ...dictionary[language], ...texts }, look);
  const stream = push ? new PushStream(origin, clock, known, look) : undefined;
  const fetchJson = jsonFetcher(origin, clock, () => !stream?.isTimed);
  const refresher = new Refresher({
    clock,
    known,
    read: (mode === "publication" ? publicationReader : queryReader)(fetchJson),
    all: () => elements.all(),
    seen: () => elements.seen(),
    show() {
      // A page that is hidden may be frozen, and is seen again before it can look.
      elements.show((sku) => (document.hidden ? undefined : known.shown(sku)));
      stream?.keep(elements.seen());
    },
    onSleep: () => stream?.close(),
  });
  const end = new AbortController();
  const on = (name: string, listener: () => void) => addEventListener(name, listener, end);
  on("visibilitychange", look);
  on("pageshow", look);
  on("online", () => refresher.refresh());
  elements.scan();
  return {
    stop() {
      end.abort();
      elements.stop();
      // Without elements it closes the stream and reads no more.
      look();
    },
  };
};

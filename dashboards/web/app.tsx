/**
 * The page: it subscribes to the feeds of its layout and renders at most once a frame of the display. Before the first
 * snapshots it shows that it is waiting. When the connection is lost it keeps the last state, dimmed, under a
 * banner with its age.
 */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Alerts } from "./alerts.js";
import { BreakerBanner, ConnectionBanner } from "./banners.js";
import { translator } from "./dictionary.js";
import { useLayout, useTheme, useTicks } from "./environment.js";
import { formatIn } from "./format.js";
import { Header } from "./header.js";
import { Heatmap } from "./heatmap.js";
import { HotSkus } from "./hot-skus.js";
import { initialLanguage, storeLanguage } from "./language.js";
import { CONNECTING, LiveConnection, type LiveState } from "./live-connection.js";
import { feedsOf, type Size } from "./live-model.js";
import { PageContext, usePage } from "./page-context.js";

const DEFAULT_ZONE = "Asia/Shanghai";

/** The newest state of the connection; frames that arrive faster than the display refreshes are shown together. */
function useLive(size: Size): LiveState {
  const [state, setState] = useState(CONNECTING);
  const connection = useRef<LiveConnection>(undefined);
  useEffect(() => {
    let newest = CONNECTING;
    let requested = 0;
    const show = () => {
      requested = 0;
      setState(newest);
    };
    const opened = new LiveConnection(feedsOf(size), (changed) => {
      newest = changed;
      if (requested === 0) requested = requestAnimationFrame(show);
    });
    connection.current = opened;
    return () => {
      cancelAnimationFrame(requested);
      opened.close();
    };
  }, []);
  const subscribed = useRef(size);
  useEffect(() => {
    if (subscribed.current === size) return;
    subscribed.current = size;
    connection.current?.subscribe(feedsOf(size));
  }, [size]);
  return state;
}

function Waiting({ state }: { state: LiveState }) {
  const { text, format } = usePage();
  useTicks(500, true);
  if (state.refused !== undefined)
    return (
      <div class="waiting" role="status" data-tone="alarm">
        <strong>{text("waitingRefused")}</strong>
        <span>{text("waitingRefusedFeed", { feed: state.refused })}</span>
      </div>
    );
  const failed = state.attempts > 0;
  const seconds = Math.max(0, Math.ceil((state.retryAtMs - performance.now()) / 1_000));
  return (
    <div class="waiting" role="status" data-tone={failed ? "alarm" : "calm"}>
      <div class="waiting-wave" aria-hidden="true" />
      <strong>{text(failed ? "waitingFailed" : "waitingTitle")}</strong>
      <span>
        {!failed
          ? ""
          : state.phase === "offline"
            ? text("bannerRetryIn", { seconds: format.units(seconds) })
            : text("bannerReconnecting")}
      </span>
    </div>
  );
}

export function App() {
  const [language, setLanguage] = useState(initialLanguage);
  const layout = useLayout();
  const theme = useTheme(layout);
  const state = useLive(layout === "phone" ? "phone" : "wall");
  const zone = state.model?.engine.zone ?? DEFAULT_ZONE;
  const page = useMemo(() => {
    const text = translator(language);
    return { language, text, format: formatIn(language, zone, text), layout, theme };
  }, [language, zone, layout, theme]);

  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = page.text("title");
  }, [language, page]);

  const switchLanguage = () => {
    const other = language === "zh" ? "en" : "zh";
    storeLanguage(other);
    setLanguage(other);
  };

  const { model, phase } = state;
  return (
    <PageContext.Provider value={page}>
      <div class="page" data-phase={phase}>
        <Header state={state} onLanguage={switchLanguage} />
        <div class="banners">
          <ConnectionBanner state={state} />
          {model !== undefined && <BreakerBanner breakers={model.breakers} nowMs={model.engine.nowMs} />}
        </div>
        {model === undefined ? (
          <main class="main main-waiting">
            <Waiting state={state} />
          </main>
        ) : (
          <main class="main">
            <Alerts model={model} />
            <HotSkus model={model.heat} alerts={model.alerts} />
            <Heatmap model={model.heat} alerts={model.alerts} />
          </main>
        )}
      </div>
    </PageContext.Provider>
  );
}

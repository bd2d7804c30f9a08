/**
 * The wall: it subscribes to the feeds of its layout and renders at most once a frame of the display. Before the first
 * snapshots it shows that it is waiting. When the connection is lost it keeps the last state, dimmed, under a
 * banner with its age.
 */
import { useMemo } from "preact/hooks";
import { Alerts } from "./alerts.js";
import { BreakerBanner, ConnectionBanner, DryRunBanner } from "./banners.js";
import { useLayout } from "./environment.js";
import { Header } from "./header.js";
import { Heatmap } from "./heatmap.js";
import { HotSkus } from "./hot-skus.js";
import { feedsOf, LiveCopies } from "./live-model.js";
import { PageContext } from "./page-context.js";
import { useLive } from "./use-live.js";
import { usePageState } from "./use-page.js";
import { Waiting } from "./waiting.js";

export function App() {
  const size = useLayout() === "phone" ? "phone" : "wall";
  const feeds = useMemo(() => feedsOf(size), [size]);
  const state = useLive(() => new LiveCopies(), feeds);
  const { model, phase } = state;
  const { page, switchLanguage } = usePageState("title", model?.engine.zone);
  return (
    <PageContext.Provider value={page}>
      <div class="page" data-phase={phase}>
        <Header state={state} onLanguage={switchLanguage} />
        <div class="banners">
          <ConnectionBanner state={state} />
          {model !== undefined && (
            <>
              <BreakerBanner breakers={model.breakers} nowMs={model.engine.nowMs} />
              <DryRunBanner consistency={model.consistency} />
            </>
          )}
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

/**
 * The phone page: alerts with large buttons, one alert with its figures and history, and settings. State comes from the
 * live feeds; without a network it shows the last state that it has seen, with its age. The list stays behind the
 * other screens, so that going back is immediate.
 */
import { useEffect, useMemo, useRef } from "preact/hooks";
import { useResource } from "../desk/use-resource.js";
import type { LiveState } from "../live-connection.js";
import type { LiveModel } from "../live-model.js";
import { feedsOf, LiveCopies } from "../live-model.js";
import { PageContext } from "../page-context.js";
import { useLive } from "../use-live.js";
import { usePageState } from "../use-page.js";
import { useScreen } from "./address.js";
import { AlertList } from "./alert-list.js";
import { AlertScreen } from "./alert-screen.js";
import { type LastState, readLastState, storeLastState } from "./last-state.js";
import { Me, type MeAnswer } from "./me.js";
import { Nothing } from "./nothing.js";
import { OldBanner } from "./old-banner.js";
import { PhoneHeader, Tabs } from "./phone-header.js";
import { type PhoneModel, phoneModelOf } from "./phone-model.js";
import { Settings } from "./settings.js";

/** How often the state is stored; and whenever the page is hidden. */
const STORE_EVERY_MS = 5_000;
const ME_EVERY_MS = 60_000;

/** Stores the newest state now and then, and at once when the page goes into the background. */
function useStoredState(model: PhoneModel | undefined, isLive: boolean): LastState | undefined {
  const last = useMemo(readLastState, []);
  const newest = useRef(model);
  newest.current = isLive ? model : undefined;
  useEffect(() => {
    const store = () => {
      if (newest.current !== undefined) storeLastState(newest.current);
    };
    const storeWhenHidden = () => {
      if (document.visibilityState === "hidden") store();
    };
    const timer = setInterval(store, STORE_EVERY_MS);
    document.addEventListener("visibilitychange", storeWhenHidden);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", storeWhenHidden);
    };
  }, []);
  return last;
}

const FEEDS = feedsOf("phone");

export function Phone() {
  const state = useLive(() => new LiveCopies(), FEEDS);
  // The model's parts change in place: the state is a new object with each change.
  const live = useMemo(() => (state.model === undefined ? undefined : phoneModelOf(state.model)), [state]);
  const last = useStoredState(live, state.phase === "live");
  const model = live ?? last?.model;
  const { page, switchLanguage } = usePageState("phoneTitle", model?.zone);
  const me = useResource<MeAnswer>("/v1/people/me", ME_EVERY_MS);
  const screen = useScreen();
  return (
    <PageContext.Provider value={page}>
      <Me.Provider value={me}>
        <div class="phone" data-phase={state.phase} data-screen={screen.name}>
          <PhoneHeader state={state} screen={screen} />
          <OldBanner state={state} savedMs={live === undefined ? last?.savedMs : undefined} />
          <main class="phone-main">
            {model === undefined ? (
              <Nothing state={state} />
            ) : (
              <Screens model={model} state={state} screen={screen} switchLanguage={switchLanguage} />
            )}
          </main>
          <Tabs screen={screen} model={model} />
        </div>
      </Me.Provider>
    </PageContext.Provider>
  );
}

interface ScreensProps {
  model: PhoneModel;
  state: LiveState<LiveModel>;
  screen: ReturnType<typeof useScreen>;
  switchLanguage: () => void;
}

function Screens({ model, state, screen, switchLanguage }: ScreensProps) {
  const isLive = state.phase === "live";
  if (screen.name === "settings") return <Settings onLanguage={switchLanguage} />;
  if (screen.name === "alert" || screen.name === "sku")
    return (
      <AlertScreen
        key={screen.name === "alert" ? screen.id : screen.sku}
        screen={screen}
        model={model}
        isLive={isLive}
      />
    );
  return <AlertList model={model} isLive={isLive} />;
}

/**
 * The desk: what people do about alerts and about stock figures that part. It shows the breaker, the divergence of each
 * pair, open alerts, the people who are notified, the sources, the differences to settle, where a SKU's figures part,
 * and the story of any SKU. State comes from the live
 * feeds; lists come over HTTP. Whoever may only read sees everything and no buttons.
 */
import { useState } from "preact/hooks";
import { ConnectionBanner, DryRunBanner } from "../banners.js";
import { feedsOf, LiveCopies } from "../live-model.js";
import { PageContext } from "../page-context.js";
import { useLive } from "../use-live.js";
import { usePageState } from "../use-page.js";
import { Waiting } from "../waiting.js";
import { AlertsPanel } from "./alerts.js";
import { Breaker } from "./breaker.js";
import type { Caller } from "./contracts.js";
import { DeskHeader } from "./desk-header.js";
import { Differences } from "./differences.js";
import { DivergencePanel } from "./divergence.js";
import { Inspector, type Subject } from "./inspector.js";
import { People } from "./people.js";
import { Reorder } from "./reorder.js";
import { Sources } from "./sources.js";
import { useResource } from "./use-resource.js";

/** A role may change while the page is open. */
const CALLER_EVERY_MS = 60_000;

const FEEDS = feedsOf("phone");

export function Desk() {
  const state = useLive(() => new LiveCopies(), FEEDS);
  const { model, phase } = state;
  const { page, switchLanguage } = usePageState("deskTitle", model?.engine.zone);
  const caller = useResource<Caller>("/v1/sessions/current", CALLER_EVERY_MS);
  const role = caller.answer?.role;
  const mayOperate = role === "operate" || role === "admin";
  const [subject, setSubject] = useState<Subject>();
  const version = model?.consistency?.comparison?.id ?? "";
  return (
    <PageContext.Provider value={page}>
      <div class="page desk-page" data-phase={phase}>
        <DeskHeader state={state} caller={caller.answer} onLanguage={switchLanguage} />
        <div class="banners">
          <ConnectionBanner state={state} />
          <DryRunBanner consistency={model?.consistency} />
          {caller.error?.status === 401 && <NoSession />}
        </div>
        {model === undefined ? (
          <main class="main main-waiting">
            <Waiting state={state} />
          </main>
        ) : (
          <main class="main desk-main">
            <Breaker model={model} operator={mayOperate ? caller.answer?.name : undefined} />
            <DivergencePanel model={model} mayOperate={mayOperate} />
            <AlertsPanel model={model} mayAct={mayOperate} />
            <People isAdmin={role === "admin"} />
            <Reorder onOpen={(sku) => setSubject({ sku })} />
            <Sources nowMs={model.engine.nowMs} version={version} />
            <Differences
              comparison={model.consistency?.comparison?.id}
              mayOperate={mayOperate}
              subject={subject}
              onSubject={setSubject}
            />
            <Inspector subject={subject} onSubject={setSubject} nowMs={model.engine.nowMs} />
          </main>
        )}
      </div>
    </PageContext.Provider>
  );
}

/** Screens may be public where the API is not. */
function NoSession() {
  return (
    <div class="banner" data-tone="warn" role="status">
      <PageContext.Consumer>
        {(page) => (
          <>
            <strong>{page?.text("noSession")}</strong>
            <span>{page?.text("noSessionNote")}</span>
            <a href="/pair">{page?.text("noSessionPair")}</a>
          </>
        )}
      </PageContext.Consumer>
    </div>
  );
}

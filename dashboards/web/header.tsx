/**
 * The top of every layout: the product, the shop's time, the state of the engine, and the state of the connection. The
 * clock is written into the page ten times a second without rendering; it stops when the data is not live.
 */
import { useEffect, useMemo, useRef } from "preact/hooks";
import { type PlainKey, sceneText } from "./dictionary.js";
import type { LiveState, Phase } from "./live-connection.js";
import { Logo } from "./logo.js";
import { usePage } from "./page-context.js";
import { ShopClock } from "./shop-clock.js";
import type { ShopModel } from "./shop-model.js";

/** From this lag the views of the jobs are visibly old. */
const CATCHING_UP_MS = 2_000;
/** From this lag they are older than the storefront allows (R6). */
const BEHIND_MS = 15_000;
const CLOCK_PERIOD_MS = 100;

type Tone = "good" | "calm" | "warn" | "alarm";

function engineState(model: ShopModel | undefined): readonly [PlainKey, Tone] {
  if (model === undefined) return ["engineUnknown", "calm"];
  const { engine, breakers } = model;
  if (breakers.some(({ scope }) => scope === "shop")) return ["engineStopped", "alarm"];
  if (engine.lagMs >= BEHIND_MS) return ["engineBehind", "alarm"];
  if (engine.lagMs >= CATCHING_UP_MS) return ["engineCatchingUp", "warn"];
  if (breakers.length > 0) return ["enginePartlyStopped", "warn"];
  return engine.commandsPerSecond > 0 ? ["engineRunning", "good"] : ["engineIdle", "calm"];
}

const connections: Readonly<Record<Phase, readonly [PlainKey, Tone]>> = {
  loading: ["connectionLoading", "calm"],
  live: ["connectionLive", "good"],
  stale: ["connectionStale", "warn"],
  offline: ["connectionOffline", "alarm"],
  reconnecting: ["connectionReconnecting", "alarm"],
};

export function ShopTime({ state }: { state: LiveState<ShopModel> }) {
  const { text, format } = usePage();
  const time = useRef<HTMLTimeElement>(null);
  const date = useRef<HTMLSpanElement>(null);
  const clock = useMemo(() => new ShopClock(), []);
  const engine = state.model?.engine;
  const engineAtMs = state.model?.engineAtMs ?? 0;
  const running = state.phase === "live";

  useEffect(() => {
    if (engine !== undefined && running) clock.observe(engine.nowMs, engine.speed, engineAtMs);
  }, [clock, engine, engineAtMs, running]);

  const known = engine !== undefined;
  // Without new frames the clock shows the last frame's time, as everything else on the page does.
  const stoppedMs = running ? 0 : (engine?.nowMs ?? 0);
  useEffect(() => {
    if (!known) return;
    const show = (nowMs: number) => {
      if (time.current !== null) time.current.textContent = format.second(nowMs);
      if (date.current !== null) date.current.textContent = format.date(nowMs);
    };
    if (!running) return show(stoppedMs);
    const run = () => show(clock.read(performance.now()));
    run();
    const timer = setInterval(run, CLOCK_PERIOD_MS);
    return () => clearInterval(timer);
  }, [clock, format, known, running, stoppedMs]);

  const speed = engine?.speed ?? 1;
  return (
    <div class="clock">
      <time ref={time} class="clock-time" data-testid="clock" data-now={engine?.nowMs} role="timer" aria-live="off">
        --:--:--
      </time>
      <span class="clock-note">
        <span ref={date} />
        <span>{speed === 1 ? text("shopTime") : text("shopTimeFaster", { speed: format.units(speed) })}</span>
      </span>
    </div>
  );
}

function Figure({ name, value, note }: { name: string; value: string; note?: string }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        {value}
        {note !== undefined && <small>{note}</small>}
      </dd>
    </div>
  );
}

export function ConnectionState({ phase }: { phase: Phase }) {
  const { text } = usePage();
  const [key, tone] = connections[phase];
  return (
    <span class="connection" data-testid="connection" data-state={phase} data-tone={tone} role="status">
      <i class="dot" aria-hidden="true" />
      {text(key)}
    </span>
  );
}

export function LanguageButton({ onLanguage }: { onLanguage: () => void }) {
  const { text, language } = usePage();
  return (
    <button
      type="button"
      class="lang"
      data-testid="lang"
      lang={language === "zh" ? "en" : "zh-CN"}
      aria-label={text("switchLanguage")}
      onClick={onLanguage}
    >
      {text("otherLanguage")}
    </button>
  );
}

/** The link to the desk, with the greatest divergence of the last comparison. */
function DeskLink({ consistency }: Pick<ShopModel, "consistency">) {
  const { text, format } = usePage();
  const share = consistency?.comparison?.pairs[0]?.share;
  const isOver = share !== undefined && share > (consistency?.shopThreshold ?? 1);
  return (
    <a
      class="lang desk-link"
      href="/desk"
      data-testid="desk-link"
      data-tone={isOver ? "alarm" : "calm"}
      title={text("deskLink")}
    >
      {text("desk")}
      {share !== undefined && <b>{format.share(share)}</b>}
    </a>
  );
}

export function Header({ state, onLanguage }: { state: LiveState<ShopModel>; onLanguage: () => void }) {
  const { text, format, language } = usePage();
  const engine = state.model?.engine;
  const live = state.phase === "live";
  const [engineKey, engineTone] = engineState(live ? state.model : undefined);
  const lagging = engine !== undefined && engine.lagEntries > 0;
  return (
    <header class="header">
      <div class="brand">
        <Logo class="logo" />
        <h1>
          {text("product")}
          <small>{text("productNote")}</small>
        </h1>
      </div>
      <ShopTime state={state} />
      <div class="engine" data-tone={engineTone} data-testid="engine">
        {engine !== undefined && (
          <span class="engine-state">
            <i class="dot" aria-hidden="true" />
            {text(engineKey)}
          </span>
        )}
        {engine?.scene != null && <span class="chip">{sceneText(engine.scene, language)}</span>}
      </div>
      <dl class="figures">
        <Figure name={text("commands")} value={engine === undefined ? "–" : format.units(engine.commandsPerSecond)} />
        <Figure name={text("events")} value={engine === undefined ? "–" : format.units(engine.eventsPerSecond)} />
        <Figure
          name={text("lag")}
          value={engine === undefined ? "–" : format.duration(engine.lagMs)}
          {...(lagging && { note: text("lagEntries", { entries: format.units(engine.lagEntries) }) })}
        />
      </dl>
      <div class="controls">
        <DeskLink consistency={state.model?.consistency} />
        <ConnectionState phase={state.phase} />
        <LanguageButton onLanguage={onLanguage} />
      </div>
    </header>
  );
}

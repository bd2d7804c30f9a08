/**
 * The breaker on the desk (R14): whether orders are accepted, and if not, which figures part by how much and until
 * when; the buttons of an operator; what has happened before. Buttons are there only with the role operate, and each
 * asks for a reason, which is recorded with the operator's name.
 */
import { useState } from "preact/hooks";
import type { BreakerBody } from "../../feeds/breakers.js";
import { AUTOMATION, BreakerEnd, EvidenceText, ScopeText } from "../banners.js";
import type { PlainKey, Translate } from "../dictionary.js";
import { usePage } from "../page-context.js";
import type { ShopModel } from "../shop-model.js";
import { post } from "./api.js";
import type { BreakerEvent, BreakerHistory } from "./contracts.js";
import { ReasonDialog } from "./dialog.js";
import { Loaded, Panel } from "./panel.js";
import { type Resource, useResource } from "./use-resource.js";

const HISTORY_EVERY_MS = 15_000;
const HISTORY_SHOWN = 4;
/** How long an operator may open or extend it, in minutes of the shop's time; 0: until it is closed by hand. */
const MINUTES = [10, 30, 60, 0] as const;

type Action = "open" | "extend" | "close";

const SHOP = "shop";

/** The scope of a request from the scope's key. */
function scopeOf(key: string): object {
  const [kind = SHOP, name] = key.split(/:(.*)/s, 2);
  return kind === SHOP ? { kind } : { kind, [kind]: name };
}

function ActionDialog({
  action,
  scope,
  actor,
  onDone,
  onClose,
}: {
  action: Action;
  scope: string;
  actor: string;
  onDone: () => void;
  onClose: () => void;
}) {
  const { text, format } = usePage();
  const [minutes, setMinutes] = useState<number>(MINUTES[0]);
  const isClosing = action === "close";
  const confirm = async (reason: string) => {
    const change = isClosing
      ? { action: "close" }
      : { action: "open", forMs: minutes * 60_000, ...(minutes > 0 && { atEnd: "half_open" }) };
    await post("/v1/breaker", { ...change, scope: scopeOf(scope), actor, reason });
    onDone();
  };
  const titles = { open: "breakerDoOpen", extend: "breakerDoExtend", close: "breakerDoClose" } as const;
  const notes = { open: "breakerOpenNote", extend: "breakerExtendNote", close: "breakerCloseNote" } as const;
  return (
    <ReasonDialog
      title={text(titles[action])}
      about={
        <>
          <p>{text(notes[action])}</p>
          {scope !== SHOP && (
            <p>
              <ScopeText scope={scope} />
            </p>
          )}
        </>
      }
      confirm={text(titles[action])}
      tone={isClosing ? "good" : "alarm"}
      onConfirm={confirm}
      onClose={onClose}
    >
      {!isClosing && (
        <fieldset class="field choices">
          <legend>{text("breakerFor")}</legend>
          {MINUTES.map((value) => (
            <label key={value}>
              <input type="radio" name="minutes" checked={minutes === value} onChange={() => setMinutes(value)} />
              <span>{value === 0 ? text("breakerByHand") : format.duration(value * 60_000)}</span>
            </label>
          ))}
        </fieldset>
      )}
    </ReasonDialog>
  );
}

const CHANGES: Readonly<Record<string, readonly [PlainKey, string]>> = {
  opened: ["historyOpened", "alarm"],
  extended: ["historyExtended", "alarm"],
  half_opened: ["historyHalfOpened", "warn"],
  closed: ["historyClosed", "good"],
  would_have_opened: ["historyWouldOpen", "warn"],
};

/** What the engine does by itself without evidence has one reason for each kind. */
const OWN_REASONS: Readonly<Record<string, PlainKey>> = { half_opened: "historyTimeOver", closed: "historyWithin" };

function reasonOf({ by, kind, reason }: BreakerEvent, text: Translate): string {
  const own = by === "engine" ? OWN_REASONS[kind] : undefined;
  return own === undefined ? reason : text(own);
}

function HistoryEntry({ event }: { event: BreakerEvent }) {
  const { text, format } = usePage();
  const [key, tone] = CHANGES[event.kind] ?? ["historyChanged", "calm"];
  return (
    <li class="history-entry" data-tone={tone}>
      <time>{format.minute(Date.parse(event.at))}</time>
      <b>{text(key)}</b>
      <span class="history-why">
        {event.scope !== SHOP && <span class="history-scope">{event.scope.replace(/^\w+:/, "")}</span>}
        {event.evidence !== undefined ? <EvidenceText evidence={event.evidence} /> : reasonOf(event, text)}
      </span>
      <span class="history-who">{event.by === "engine" ? text("byItself") : event.actor}</span>
    </li>
  );
}

function History({ history }: { history: Resource<BreakerHistory> }) {
  const { text, format } = usePage();
  const [all, setAll] = useState(false);
  return (
    <Loaded resource={history}>
      {({ events }) =>
        events.length === 0 ? (
          <p class="quiet">{text("historyEmpty")}</p>
        ) : (
          <>
            <ul class="history">
              {(all ? events : events.slice(0, HISTORY_SHOWN)).map((event) => (
                <HistoryEntry key={`${event.at} ${event.scope} ${event.kind}`} event={event} />
              ))}
            </ul>
            {events.length > HISTORY_SHOWN && (
              <button type="button" class="link" aria-expanded={all} onClick={() => setAll(!all)}>
                {all ? text("showFewer") : text("showAll", { number: format.units(events.length) })}
              </button>
            )}
          </>
        )
      }
    </Loaded>
  );
}

function State({ breaker, nowMs }: { breaker: BreakerBody; nowMs: number }) {
  const { text } = usePage();
  const isHalfOpen = breaker.state === "half_open";
  return (
    <div
      class="breaker-state"
      data-tone={isHalfOpen ? "warn" : "alarm"}
      data-testid="breaker-state"
      data-state={breaker.state}
    >
      <p class="state-title">
        <i class="dot" aria-hidden="true" />
        <strong>{text(isHalfOpen ? "breakerHalfOpenTitle" : "breakerOpen")}</strong>
        <span>
          <ScopeText scope={breaker.scope} />
        </span>
      </p>
      <p class="state-why">
        {breaker.evidence !== undefined ? <EvidenceText evidence={breaker.evidence} /> : breaker.reason}
      </p>
      <p class="state-end">
        <BreakerEnd breaker={breaker} nowMs={nowMs} />
        <span class="quiet">
          {breaker.actor === AUTOMATION ? text("breakerByItself") : text("breakerBy", { actor: breaker.actor })}
        </span>
      </p>
    </div>
  );
}

interface BreakerProps {
  model: ShopModel;
  /** The name of whoever may change breakers; undefined: the caller may not. */
  operator: string | undefined;
}

export function Breaker({ model, operator }: BreakerProps) {
  const { text } = usePage();
  const { breakers, engine, consistency } = model;
  const version = breakers.map(({ scope, state, untilMs }) => `${scope} ${state} ${untilMs}`).join();
  const history = useResource<BreakerHistory>("/v1/breaker/history?limit=50", HISTORY_EVERY_MS, version);
  const [asked, setAsked] = useState<{ action: Action; scope: string }>();
  const shop = breakers.find(({ scope }) => scope === SHOP);
  const button = (action: Action, scope: string, label: PlainKey) => (
    <button type="button" class="button" data-action={action} onClick={() => setAsked({ action, scope })}>
      {text(label)}
    </button>
  );
  return (
    <Panel name="breaker" title={text("breaker")} note={consistency && text(MODES[consistency.mode])}>
      {breakers.length === 0 && (
        <div class="breaker-state" data-tone="good" data-testid="breaker-state" data-state="closed">
          <p class="state-title">
            <i class="dot" aria-hidden="true" />
            <strong>{text("breakerClosed")}</strong>
            <span>{text("breakerClosedNote")}</span>
          </p>
        </div>
      )}
      {breakers.map((breaker) => (
        <div key={breaker.scope} class="breaker-one">
          <State breaker={breaker} nowMs={engine.nowMs} />
          {operator !== undefined && (
            <div class="buttons">
              {button("close", breaker.scope, "breakerDoClose")}
              {button("extend", breaker.scope, "breakerDoExtend")}
            </div>
          )}
        </div>
      ))}
      {operator !== undefined && shop === undefined && (
        <div class="buttons">{button("open", SHOP, "breakerDoOpenShop")}</div>
      )}
      <h3>{text("breakerHistory")}</h3>
      <History history={history} />
      {asked !== undefined && operator !== undefined && (
        <ActionDialog {...asked} actor={operator} onDone={history.reload} onClose={() => setAsked(undefined)} />
      )}
    </Panel>
  );
}

const MODES = { on: "modeOn", "dry-run": "modeDryRun", off: "modeOff" } as const;

/**
 * Where a SKU's figures part from a source's (R15): the last snapshot that agrees, the first that does not, and the
 * causes that explain the difference, best first. Causes that fit equally well are one group and are all shown, up to a
 * number: none of them is named alone. Without a source, every source is answered for.
 */
import type { PlainKey, TextKey } from "../dictionary.js";
import { partyName, usePage } from "../page-context.js";
import type { CauseGroup, Fault, PartingAnswer, SourceParting } from "./contracts.js";
import { Loaded } from "./panel.js";
import { useResource } from "./use-resource.js";

/** A search reads snapshots and the log, and few run at once. */
const EVERY_MS = 60_000;
/** Causes that are listed one by one; the rest is counted. */
const MEMBERS_SHOWN = 6;
const GROUPS_SHOWN = 4;

const FAULTS = {
  missing: "faultMissing",
  doubled: "faultDoubled",
  misplaced: "faultMisplaced",
  units_changed: "faultUnitsChanged",
  unknown_to_ledger: "faultUnknown",
} as const satisfies Readonly<Record<Fault["kind"], TextKey>>;

function FaultSentence({ fault, source }: { fault: Fault; source: string }) {
  const { text, format } = usePage();
  const { actor, reason, order } = fault.event ?? {};
  const values = {
    source,
    time: format.second(Date.parse(fault.at)),
    units: format.units(fault.event?.units ?? Math.abs(fault.off[0]?.units ?? 0)),
    location: fault.location,
    bookedAt: fault.bookedAt ?? "",
  };
  const who = [order, actor, reason].filter(Boolean).join(" · ");
  return (
    <p>
      {text(FAULTS[fault.kind], values)}
      {who !== "" && <span class="quiet"> {who}</span>}
    </p>
  );
}

function Group({ group, rank, source }: { group: CauseGroup; rank: number; source: string }) {
  const { text, format } = usePage();
  const shown = group.members.slice(0, MEMBERS_SHOWN);
  return (
    <li class="cause-group">
      <span class="cause-rank">{format.units(rank)}</span>
      <div>
        {group.count > 1 && <p class="quiet">{text("whereSeveral", { number: format.units(group.count) })}</p>}
        <ul>
          {shown.map((cause) => (
            <li key={JSON.stringify(cause)}>
              {cause.faults.map((fault) => (
                <FaultSentence key={JSON.stringify(fault)} fault={fault} source={source} />
              ))}
            </li>
          ))}
        </ul>
        {group.count > shown.length && (
          <p class="quiet">{text("whereMore", { number: format.units(group.count - shown.length) })}</p>
        )}
      </div>
    </li>
  );
}

/** What restricts the answer, in sentences. */
const REMARKS: readonly (readonly ["mayBeOlder" | "persistent", PlainKey])[] = [
  ["mayBeOlder", "whereOlder"],
  ["persistent", "wherePersistent"],
];

function Parting({ parting }: { parting: SourceParting }) {
  const { text, format } = usePage();
  const { state, message, lastEqual, firstUnequal, causes = [] } = parting;
  const source = partyName(text, parting.source);
  const timeOf = (snapshot: { asOf: string } | undefined) =>
    snapshot === undefined ? "–" : format.second(Date.parse(snapshot.asOf));
  if (state === "equal") return <p class="where-equal">{text("whereEqual", { source })}</p>;
  if (state !== "differs") return <p class="quiet">{`${source}: ${message ?? state}`}</p>;
  return (
    <div class="where" data-testid="where">
      <h3>{text("whereTitle", { source })}</h3>
      <p class="quiet">{text("whereBetween", { equal: timeOf(lastEqual), unequal: timeOf(firstUnequal) })}</p>
      {REMARKS.map(
        ([name, key]) =>
          parting[name] === true && (
            <p key={name} class="quiet">
              {text(key)}
            </p>
          ),
      )}
      {causes.length === 0 ? (
        <p class="quiet">{text("whereNone")}</p>
      ) : (
        <ol class="causes">
          {causes.slice(0, GROUPS_SHOWN).map((group, i) => (
            <Group key={JSON.stringify(group.members[0])} group={group} rank={i + 1} source={source} />
          ))}
        </ol>
      )}
    </div>
  );
}

export function Where({ sku, source }: { sku: string; source: string | undefined }) {
  const query = source === undefined ? "" : `?source=${encodeURIComponent(source)}`;
  const answer = useResource<PartingAnswer>(`/v1/divergence/${encodeURIComponent(sku)}${query}`, EVERY_MS);
  return (
    <Loaded resource={answer}>
      {({ sources }) => sources.map((parting) => <Parting key={parting.source} parting={parting} />)}
    </Loaded>
  );
}

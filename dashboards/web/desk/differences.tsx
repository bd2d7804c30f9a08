/**
 * The differences between the ledger and the sources in the newest comparison, each with what would settle it: a row of
 * a table, on a phone a card. Rows can be filtered by source and location, chosen one by one or all, and approved or
 * rejected together with a reason; the API limits how much. A row whose balance has changed since is not corrected: it
 * stays here with what is proposed on its balance now.
 */
import { useMemo, useState } from "preact/hooks";
import { partyName, usePage } from "../page-context.js";
import type { SettlementList, SettlementResult, SettlementRow } from "./contracts.js";
import { type Decision, DecisionDialog, ResultNote } from "./decision-dialog.js";
import { DifferenceRows, isDecidable, keyOf } from "./difference-rows.js";
import type { Subject } from "./inspector.js";
import { Empty, Loaded, Panel } from "./panel.js";
import { useResource } from "./use-resource.js";

const EVERY_MS = 10_000;
/** Rows that one answer brings, the greatest first. */
const PAGE_ROWS = 200;

interface DifferencesProps {
  /** Of the newest comparison; undefined: there is none. */
  comparison: string | undefined;
  mayOperate: boolean;
  subject: Subject | undefined;
  onSubject: (subject: Subject) => void;
}

function Filter({
  label,
  value,
  values,
  name,
  onChange,
}: {
  label: string;
  value: string;
  values: readonly string[];
  name: (value: string) => string;
  onChange: (value: string) => void;
}) {
  const { text } = usePage();
  return (
    <label class="filter">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">{text("filterAll")}</option>
        {values.map((each) => (
          <option key={each} value={each}>
            {name(each)}
          </option>
        ))}
      </select>
    </label>
  );
}

const sortedOnce = (values: readonly string[]): string[] => [...new Set(values)].sort();

/** The filters, and the rows that pass them. */
function useFilters(rows: readonly SettlementRow[]) {
  const { text } = usePage();
  const [source, setSource] = useState("");
  const [location, setLocation] = useState("");
  const values = useMemo(
    () => ({
      sources: sortedOnce(rows.map(({ proposal }) => proposal.source)),
      locations: sortedOnce(rows.map(({ proposal }) => proposal.location)),
    }),
    [rows],
  );
  const shown = rows.filter(
    ({ proposal }) =>
      (source === "" || proposal.source === source) && (location === "" || proposal.location === location),
  );
  const fields = (
    <>
      <Filter
        label={text("filterSource")}
        value={source}
        values={values.sources}
        name={(each) => partyName(text, each)}
        onChange={setSource}
      />
      <Filter
        label={text("filterLocation")}
        value={location}
        values={values.locations}
        name={(each) => each}
        onChange={setLocation}
      />
    </>
  );
  return { shown, fields };
}

interface RowsProps extends Omit<DifferencesProps, "comparison"> {
  list: SettlementList;
  onDone: (result: SettlementResult) => void;
}

function Rows({ list, mayOperate, subject, onSubject, onDone }: RowsProps) {
  const { text, format } = usePage();
  const { shown, fields } = useFilters(list.rows);
  // By cell and source, not by id: every comparison gives its rows new ids.
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  // The rows as they are when the dialog opens: what is sent is what was shown.
  const [asked, setAsked] = useState<{ decision: Decision; rows: readonly SettlementRow[] }>();
  const chosenRows = shown.filter((row) => isDecidable(row) && chosen.has(keyOf(row)));
  const button = (decision: Decision) => (
    <button
      type="button"
      class="button"
      data-action={decision}
      disabled={chosenRows.length === 0}
      onClick={() => setAsked({ decision, rows: chosenRows })}
    >
      {text(decision === "approval" ? "approve" : "reject")}
    </button>
  );
  return (
    <>
      <div class="filters">
        {fields}
        {mayOperate && (
          <div class="buttons">
            <span class="quiet" aria-live="polite">
              {text("chosen", { number: format.units(chosenRows.length) })}
            </span>
            {button("approval")}
            {button("rejection")}
          </div>
        )}
      </div>
      <DifferenceRows
        rows={shown}
        chosen={mayOperate ? chosen : undefined}
        onChosen={setChosen}
        subject={subject}
        onSubject={onSubject}
      />
      {list.next !== undefined && <p class="quiet">{text("moreRows", { number: format.units(PAGE_ROWS) })}</p>}
      {asked !== undefined && (
        <DecisionDialog
          {...asked}
          onDone={(result) => {
            setChosen(new Set());
            onDone(result);
          }}
          onClose={() => setAsked(undefined)}
        />
      )}
    </>
  );
}

/** Rows that nothing has to be done about any more are left out. */
const OPEN_STATES: ReadonlySet<string> = new Set([
  "proposed",
  "source_to_correct",
  "needs_decision",
  "outdated",
  "approving",
]);

export function Differences({ comparison, ...rest }: DifferencesProps) {
  const { text, format } = usePage();
  const path =
    comparison === undefined
      ? undefined
      : `/v1/settlements?comparison=${encodeURIComponent(comparison)}&limit=${PAGE_ROWS}`;
  const settlements = useResource<SettlementList>(path, EVERY_MS);
  // While the rows of a new comparison are read, those of the one before stay.
  const [before, setBefore] = useState<SettlementList>();
  if (settlements.answer !== undefined && settlements.answer !== before) setBefore(settlements.answer);
  const answer = settlements.answer ?? before;
  const list = useMemo(
    () => answer && { ...answer, rows: answer.rows.filter(({ state }) => OPEN_STATES.has(state)) },
    [answer],
  );
  const number = list?.rows.length ?? 0;
  const [result, setResult] = useState<SettlementResult>();
  const done = (answered: SettlementResult) => {
    setResult(answered);
    settlements.reload();
  };
  return (
    <Panel
      name="differences"
      title={text("differences")}
      {...(number > 0 && { note: text("differencesNote", { number: format.units(number) }) })}
    >
      {result !== undefined && <ResultNote result={result} />}
      {comparison === undefined ? (
        <Empty title={text("divergenceEmpty")}>{text("divergenceEmptyNote")}</Empty>
      ) : (
        <Loaded resource={{ ...settlements, answer: list }}>
          {(shown) =>
            number === 0 ? (
              <Empty title={text("differencesEmpty")}>{text("differencesEmptyNote")}</Empty>
            ) : (
              <Rows list={shown} {...rest} onDone={done} />
            )
          }
        </Loaded>
      )}
    </Panel>
  );
}

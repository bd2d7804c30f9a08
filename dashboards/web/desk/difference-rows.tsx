/**
 * The rows of the differences to settle: a table on a desktop, cards on a phone. Choosing a row's SKU shows where its
 * figures part. A row that cannot be approved shows why and has no box.
 */
import { partyName, usePage } from "../page-context.js";
import type { SettlementRow } from "./contracts.js";
import type { Subject } from "./inspector.js";

interface DifferenceRowsProps {
  rows: readonly SettlementRow[];
  /** Undefined: nothing can be chosen. */
  chosen: ReadonlySet<string> | undefined;
  onChosen: (chosen: ReadonlySet<string>) => void;
  subject: Subject | undefined;
  onSubject: (subject: Subject) => void;
}

interface RowProps extends DifferenceRowsProps {
  row: SettlementRow;
}

/** Names a row through all comparisons. */
export const keyOf = ({ proposal: { source, sku, location } }: SettlementRow): string => `${source} ${location} ${sku}`;

/** Whether a correction of the ledger can be approved or rejected now. */
export const isDecidable = ({ state }: SettlementRow): boolean => state === "proposed";

/** Why a row cannot be decided, by its state. */
const STATE_NOTES = {
  needs_decision: "needsDecision",
  outdated: "outdatedRow",
  approving: "refusedApproving",
} as const;

function Box({ row, chosen, onChosen }: RowProps) {
  const { text } = usePage();
  if (chosen === undefined || !isDecidable(row)) return null;
  const toggle = () => {
    const changed = new Set(chosen);
    if (!changed.delete(keyOf(row))) changed.add(keyOf(row));
    onChosen(changed);
  };
  return (
    <input
      type="checkbox"
      checked={chosen.has(keyOf(row))}
      aria-label={text("chooseRow", { sku: row.proposal.sku, location: row.proposal.location })}
      onChange={toggle}
    />
  );
}

function Sku({ row, onSubject }: RowProps) {
  return (
    <button
      type="button"
      class="link sku"
      onClick={() => onSubject({ sku: row.proposal.sku, source: row.proposal.source })}
    >
      {row.proposal.sku}
    </button>
  );
}

/** What the ledger would add, or why it is not the ledger that changes. */
function Correction({ row }: RowProps) {
  const { text, format } = usePage();
  if (row.state === "source_to_correct")
    return <span class="quiet">{text("correctSource", { source: partyName(text, row.proposal.source) })}</span>;
  const note = STATE_NOTES[row.state as keyof typeof STATE_NOTES];
  if (note !== undefined) return <span class="row-note">{text(note)}</span>;
  return (
    <>
      <strong class="correction">{format.signed(row.proposal.correctionUnits)}</strong>
      {row.refused !== undefined && <small class="rest">{text("renewed")}</small>}
      {row.proposal.restUnits > 0 && (
        <small class="rest" title={text("restNote")}>
          {text("rest", { units: format.units(row.proposal.restUnits) })}
        </small>
      )}
    </>
  );
}

function Table(props: DifferenceRowsProps) {
  const { text, format } = usePage();
  const { rows, chosen, onChosen, subject } = props;
  const decidable = rows.filter(isDecidable);
  const isAll = chosen !== undefined && decidable.length > 0 && decidable.every((row) => chosen.has(keyOf(row)));
  return (
    <table class="rows">
      <thead>
        <tr>
          {chosen !== undefined && (
            <th scope="col" class="box">
              <input
                type="checkbox"
                checked={isAll}
                aria-label={text("chooseAll")}
                onChange={() => onChosen(isAll ? new Set() : new Set(decidable.map(keyOf)))}
              />
            </th>
          )}
          <th scope="col">{text("columnSku")}</th>
          <th scope="col">{text("filterLocation")}</th>
          <th scope="col">{text("filterSource")}</th>
          <th scope="col" class="number">
            {text("columnSource")}
          </th>
          <th scope="col" class="number">
            {text("columnLedger")}
          </th>
          <th scope="col" class="number">
            {text("columnCorrection")}
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr
            key={keyOf(row)}
            data-testid="difference"
            data-sku={row.proposal.sku}
            data-shown={row.proposal.sku === subject?.sku || null}
          >
            {chosen !== undefined && (
              <td class="box">
                <Box row={row} {...props} />
              </td>
            )}
            <th scope="row">
              <Sku row={row} {...props} />
            </th>
            <td>{row.proposal.location}</td>
            <td>{partyName(text, row.proposal.source)}</td>
            <td class="number">{format.units(row.proposal.sourceUnits)}</td>
            <td class="number">{format.units(row.proposal.ledgerUnits)}</td>
            <td class="number">
              <Correction row={row} {...props} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Cards(props: DifferenceRowsProps) {
  const { text, format } = usePage();
  return (
    <ul class="row-cards">
      {props.rows.map((row) => (
        <li key={keyOf(row)} class="row-card" data-testid="difference" data-sku={row.proposal.sku}>
          <p class="row-card-head">
            <Box row={row} {...props} />
            <Sku row={row} {...props} />
            <span class="quiet">
              {row.proposal.location} · {partyName(text, row.proposal.source)}
            </span>
          </p>
          <dl>
            <div>
              <dt>{text("columnSource")}</dt>
              <dd>{format.units(row.proposal.sourceUnits)}</dd>
            </div>
            <div>
              <dt>{text("columnLedger")}</dt>
              <dd>{format.units(row.proposal.ledgerUnits)}</dd>
            </div>
            <div>
              <dt>{text("columnCorrection")}</dt>
              <dd>
                <Correction row={row} {...props} />
              </dd>
            </div>
          </dl>
        </li>
      ))}
    </ul>
  );
}

export function DifferenceRows(props: DifferenceRowsProps) {
  const { layout } = usePage();
  return layout === "phone" ? <Cards {...props} /> : <Table {...props} />;
}

/**
 * Asks for the reason of an approval or a rejection of chosen rows, sends it, and shows the result of each: what was
 * done, and which rows were refused and why.
 */
import type { PlainKey } from "../dictionary.js";
import { usePage } from "../page-context.js";
import { post } from "./api.js";
import type { SettlementResult, SettlementRow } from "./contracts.js";
import { ReasonDialog } from "./dialog.js";

export type Decision = "approval" | "rejection";

interface DecisionDialogProps {
  decision: Decision;
  rows: readonly SettlementRow[];
  onDone: (result: SettlementResult) => void;
  onClose: () => void;
}

export function DecisionDialog({ decision, rows, onDone, onClose }: DecisionDialogProps) {
  const { text, format } = usePage();
  const units = rows.reduce((sum, { proposal: { correctionUnits } }) => sum + Math.abs(correctionUnits), 0);
  const values = { rows: format.units(rows.length), units: format.units(units) };
  const isApproval = decision === "approval";
  return (
    <ReasonDialog
      title={text(isApproval ? "approveTitle" : "rejectTitle", values)}
      about={<p>{text(isApproval ? "approveNote" : "rejectNote")}</p>}
      confirm={text(isApproval ? "approve" : "reject")}
      tone={isApproval ? "good" : "alarm"}
      onConfirm={async (reason) => {
        const ids = rows.map(({ proposal }) => proposal.id);
        onDone(await post<SettlementResult>(`/v1/settlements/${decision}`, { ids, reason }));
      }}
      onClose={onClose}
    />
  );
}

const DONE: ReadonlySet<string> = new Set(["approved", "rejected"]);
const REFUSALS: Readonly<Record<string, PlainKey>> = {
  balance_changed: "refusedChanged",
  outdated: "refusedOutdated",
  unknown_proposal: "refusedUnknown",
  approving: "refusedApproving",
};

/** How many rows were done; of the others the reasons, each once with its number. */
export function ResultNote({ result: { rows } }: { result: SettlementResult }) {
  const { text, format } = usePage();
  const refused = rows.filter(({ outcome }) => !DONE.has(outcome));
  const reasons = [...new Set(refused.map(({ outcome }) => outcome))];
  return (
    <div class="desk-note" data-tone={refused.length === 0 ? "good" : "warn"} role="status" data-testid="settled-note">
      <p>{text("settledNote", { number: format.units(rows.length - refused.length) })}</p>
      {reasons.map((reason) => (
        <p key={reason}>
          {text("settledRefused", {
            number: format.units(refused.filter(({ outcome }) => outcome === reason).length),
            reason: text(REFUSALS[reason] ?? "refusedOther"),
          })}
        </p>
      ))}
    </div>
  );
}

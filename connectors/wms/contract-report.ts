/**
 * Sums up the findings of a contract check in many payloads: one row for each path and kind, with its number, its cost
 * in bytes, and an example's line number. It contains no payload and no value, so a report can be shared. The numbers
 * of rows and listed lines are limited; the rest is counted.
 */
import type { Finding, FindingKind } from "./contract.js";
import type { UnreadablePayload } from "./payload-file.js";

/** Rows of one report; payloads whose field names are values (`"13800001111": …`) would make one row each. */
export const MAX_ROWS = 500;
const MAX_LISTED_LINES = 20;
const MAX_PATH_CHARACTERS = 200;

export interface ContractRow {
  /** With `[]` for every index. */
  path: string;
  kind: FindingKind;
  /** Payloads that have it. */
  payloads: number;
  /** How often, in all payloads. */
  fields: number;
  /** Bytes that need not have gone. */
  bytes: number;
  /** Of the longest text there, in characters. */
  longestCharacters?: number;
  /** As the contract says it. */
  rule: string;
  /** Where the first one is. */
  line: number;
}

export interface ContractReport {
  contract: string;
  /** Payloads that could be read. */
  payloads: number;
  withFindings: number;
  unreadable: number;
  /** Bytes of all payloads in the file, and those that need not have gone. */
  bytes: number;
  costBytes: number;
  /** The dearest first. */
  findings: ContractRow[];
  /** Findings at places beyond the 500th. */
  otherFields: number;
  /** The first 20. */
  unreadableLines: { line: number; reason: string }[];
}

export class ContractTally {
  readonly #rows = new Map<string, ContractRow & { last: number }>();
  readonly #report: ContractReport;

  constructor(contract: string) {
    this.#report = {
      contract,
      payloads: 0,
      withFindings: 0,
      unreadable: 0,
      bytes: 0,
      costBytes: 0,
      findings: [],
      otherFields: 0,
      unreadableLines: [],
    };
  }

  /** Counts one payload with what its check found. */
  add({ line, bytes }: { line: number; bytes: number }, findings: readonly Finding[]): void {
    const report = this.#report;
    report.payloads++;
    report.bytes += bytes;
    if (findings.length > 0) report.withFindings++;
    for (const finding of findings) {
      report.costBytes += finding.bytes;
      const row = this.#rowOf(finding, line);
      if (row === undefined) {
        report.otherFields++;
        continue;
      }
      // One payload's findings come together: the same number again is the same payload.
      if (row.last !== report.payloads) row.payloads++;
      row.last = report.payloads;
      row.fields++;
      row.bytes += finding.bytes;
      if (finding.characters !== undefined)
        row.longestCharacters = Math.max(row.longestCharacters ?? 0, finding.characters);
    }
  }

  addUnreadable({ line, bytes, fault }: UnreadablePayload): void {
    const { unreadableLines } = this.#report;
    this.#report.unreadable++;
    this.#report.bytes += bytes;
    if (unreadableLines.length < MAX_LISTED_LINES) unreadableLines.push({ line, reason: fault });
  }

  report(): ContractReport {
    const findings = [...this.#rows.values()]
      .map(({ last: _, ...row }): ContractRow => row)
      .sort((a, b) => b.bytes - a.bytes || b.payloads - a.payloads || (a.path < b.path ? -1 : 1));
    return { ...this.#report, findings };
  }

  #rowOf({ path, kind, rule }: Finding, line: number): (ContractRow & { last: number }) | undefined {
    const place = path.slice(0, MAX_PATH_CHARACTERS).replace(/\[\d+\]/g, "[]");
    const id = `${kind} ${place}`;
    const known = this.#rows.get(id);
    if (known || this.#rows.size >= MAX_ROWS) return known;
    const row = { path: place, kind, payloads: 0, fields: 0, bytes: 0, rule, line, last: 0 };
    this.#rows.set(id, row);
    return row;
  }
}

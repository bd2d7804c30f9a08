/**
 * What a process has done as the owner of the publication, for metrics and measurements. It counts from the start of
 * the process; of a process that was never the owner, everything is 0. How old the newest publication of all processes
 * is, the store tells (publication-watch.ts).
 */

export interface PublicationFigures {
  /** Since the start of the process. */
  publications: number;
  /** Due times at which nothing was published: the view was too old; it was older than what is published. */
  readonly skipped: { stale: number; older: number };
  /** Attempts that the store has ended. */
  failures: number;
  /** Objects written, and their bytes in all forms. */
  objects: number;
  bytes: number;
  deleted: number;
  /** Objects that are to be deleted. */
  waiting: number;
  /** Objects that stay in the store because too many were to be deleted. */
  abandoned: number;
  /** The newest publication of this process. */
  newest: { asOfMs: number; atMs: number; skus: number; tookMs: number; objects: number; bytes: number } | undefined;
}

export const newFigures = (): PublicationFigures => ({
  ...{ publications: 0, failures: 0, objects: 0, bytes: 0, deleted: 0, waiting: 0, abandoned: 0 },
  skipped: { stale: 0, older: 0 },
  newest: undefined,
});

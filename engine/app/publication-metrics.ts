/** Metrics of the publication: how old the newest one is, and what this process has published. */
import type { PublicationFigures } from "../publication/publication-figures.js";
import type { MetricRow, MetricSources, MetricType, Sample } from "./metric-row.js";

const ofPublication = (
  name: string,
  type: MetricType,
  help: string,
  read: (publication: NonNullable<MetricSources["engine"]["publication"]>) => number | undefined,
): MetricRow => ({
  name: `publication_${name}`,
  type,
  help,
  labels: [],
  // Without a publication there is no value: an age of 0 would say that it is fresh.
  read: ({ engine: { publication } }) => (publication ? [[read(publication)]] : []),
});

const ofPublisher = (
  name: string,
  type: MetricType,
  help: string,
  read: (figures: Readonly<PublicationFigures>) => number | undefined,
): MetricRow => ofPublication(name, type, help, ({ publisher }) => publisher && read(publisher.stats()));

const SKIPPED: MetricRow = {
  name: "publication_skipped_total",
  type: "counter",
  help: "Due times at which this process published nothing: the view was too old or older than what is published, or the store failed",
  labels: ["kind"],
  read({ engine: { publication } }): Sample[] {
    const figures = publication?.publisher?.stats();
    if (!figures) return [];
    const { skipped, failures } = figures;
    return [
      [skipped.stale, "stale"],
      [skipped.older, "older"],
      [failures, "failed"],
    ];
  },
};

export const PUBLICATION_METRICS: readonly MetricRow[] = [
  ofPublication(
    "age_seconds",
    "gauge",
    "How long ago the newest publication was complete, whoever made it; before the first: since this process began",
    ({ watch }) => watch.ageMs / 1_000,
  ),
  ofPublication("skus", "gauge", "SKUs of the newest publication", ({ watch }) => watch.skus),
  ofPublisher("made_total", "counter", "Publications that this process has made", ({ publications }) => publications),
  SKIPPED,
  ofPublisher(
    "objects_written_total",
    "counter",
    "Objects that this process has written; unchanged ones are not written",
    ({ objects }) => objects,
  ),
  ofPublisher("bytes_written_total", "counter", "Their bytes in all forms", ({ bytes }) => bytes),
  ofPublisher(
    "seconds",
    "gauge",
    "Duration of this process's newest publication, the writing included",
    ({ newest }) => newest && newest.tookMs / 1_000,
  ),
  ofPublisher("objects_waiting", "gauge", "Objects that are to be deleted later", ({ waiting }) => waiting),
  ofPublisher(
    "objects_abandoned_total",
    "counter",
    "Objects that stay in the store because too many were to be deleted",
    ({ abandoned }) => abandoned,
  ),
];

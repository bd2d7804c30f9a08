/**
 * The history of one pair's divergence as a small line against the threshold. Drawn as steps, because a value stands
 * until the next comparison. The scale begins at zero and reaches at least twice the threshold, so that the threshold
 * is always visible and small noise looks small.
 */
interface SparklineProps {
  /** Time and share, oldest first. */
  points: readonly (readonly [atMs: number, share: number])[];
  threshold: number;
  label: string;
}

const WIDTH = 240;
const HEIGHT = 44;
const TOP = 3;
/** The end mark must not be cut. */
const RIGHT = 4;

export function Sparkline({ points, threshold, label }: SparklineProps) {
  const first = points[0]?.[0] ?? 0;
  const last = points.at(-1)?.[0] ?? 0;
  const span = Math.max(1, last - first);
  const greatest = Math.max(2 * threshold, ...points.map(([, share]) => share));
  const x = (atMs: number) => ((atMs - first) / span) * (WIDTH - RIGHT);
  const y = (share: number) => HEIGHT - 1 - (share / greatest) * (HEIGHT - 1 - TOP);
  const line = points
    .map(([atMs, share], i) => (i === 0 ? `M${x(atMs)} ${y(share)}` : `H${x(atMs).toFixed(1)}V${y(share).toFixed(1)}`))
    .join("");
  const newest = points.at(-1);
  const isOver = newest !== undefined && newest[1] > threshold;
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      data-over={isOver || null}
    >
      <title>{label}</title>
      <line class="spark-threshold" x1="0" x2={WIDTH} y1={y(threshold)} y2={y(threshold)} />
      {points.length > 1 && <path class="spark-area" d={`${line}V${HEIGHT}H0Z`} />}
      {points.length > 1 && <path class="spark-line" d={line} />}
    </svg>
  );
}

/**
 * The history of one pair's divergence as a small line against the threshold. Each comparison is one step, whatever the
 * time between two, because a value stands until the next one. The scale begins at zero and reaches at least twice the
 * threshold, so that the threshold is always visible and small noise looks small.
 */
interface SparklineProps {
  /** Shares, oldest first. */
  points: readonly number[];
  threshold: number;
  label: string;
}

const WIDTH = 240;
const HEIGHT = 44;
const TOP = 3;

export function Sparkline({ points, threshold, label }: SparklineProps) {
  const greatest = Math.max(2 * threshold, ...points);
  const x = (i: number) => ((i / points.length) * WIDTH).toFixed(1);
  const y = (share: number) => (HEIGHT - 1 - (share / greatest) * (HEIGHT - 1 - TOP)).toFixed(1);
  const line = points.map((share, i) => `${i === 0 ? "M0 " : "V"}${y(share)}H${x(i + 1)}`).join("");
  const isOver = (points.at(-1) ?? 0) > threshold;
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
      {points.length > 0 && <path class="spark-area" d={`${line}V${HEIGHT}H0Z`} />}
      {points.length > 0 && <path class="spark-line" d={line} />}
    </svg>
  );
}

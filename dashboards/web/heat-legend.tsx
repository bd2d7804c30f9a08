/** The heatmap's legend: the alert sign, and the colour scale with its end and two values between. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { heatGradient, legendMarks } from "./heat-scale.js";
import { usePage } from "./page-context.js";

/** `top`: end of the colour scale, in units a minute. */
export function HeatLegend({ top }: { top: number }) {
  const { text, format, theme } = usePage();
  const bar = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (bar.current !== null) bar.current.style.backgroundImage = heatGradient(theme);
  }, [theme]);
  return (
    <div class="legend">
      <span class="legend-alert">
        <i aria-hidden="true">▲</i>
        {text("alertMark")}
      </span>
      <div class="legend-scale">
        <div class="legend-bar" ref={bar} />
        <div class="legend-marks">
          {legendMarks(top).map(([at, units]) => (
            <span key={at} data-at={String(at * 100)}>
              {format.mark(units)}
              {at === 1 && "+"}
            </span>
          ))}
        </div>
      </div>
      <span class="legend-unit">{text("unitsPerMinute")}</span>
    </div>
  );
}

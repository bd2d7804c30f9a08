/**
 * Draws SKU × minute on a canvas: a column a minute, the newest at the right, rows from hot to less hot. When not all
 * rows can be tall enough for a name, the hottest get one and the rest follow below as thin strips, so that one look
 * takes in both the leaders and the whole field. An alert is marked by a triangle and a frame around the row, never
 * by colour alone. Sizes are CSS pixels; the backing store follows the device's pixel ratio. It keeps no data:
 * everything comes with each `draw`.
 */
import { heatColour, type Theme } from "./heat-scale.js";

export interface HeatRow {
  /** As drawn; already short enough. */
  name: string;
  /** Units of the trailing hour, formatted. */
  hour: string;
  /** Multiple of the daily average, formatted. */
  times: string;
  alerted: boolean;
  units: ReadonlyMap<number, number> | undefined;
}

export interface HeatScene {
  rows: readonly HeatRow[];
  minutes: number;
  lastMinute: number;
  /** End of the colour scale, in units a minute. */
  top: number;
  theme: Theme;
  headings: { name: string; hour: string; times: string; now: string };
  /** What stands beside the thin rows, given the first and last rank among them. */
  ranks: (from: number, to: number) => string;
  /** The label of a column's minute. */
  time: (minute: number) => string;
  cursor: HeatCell | undefined;
  /** The page's root font size in CSS pixels: everything scales with it. */
  rem: number;
}

/** A row's place in `rows`, and a minute since the epoch. */
export interface HeatCell {
  row: number;
  minute: number;
}

/** The page's colours, from its style sheet. */
export interface HeatInk {
  text: string;
  muted: string;
  line: string;
  empty: string;
  alarm: string;
  /** The page's font families. */
  font: string;
}

/** In rem. */
const AXIS = 1.75;
const LABELLED_MIN = 1.5;
const LABELLED_WALL_MIN = 2.15;
const LABELLED_MAX = 3;
const THIN = 0.36;
/** At most this share of the height is spent on thin rows. */
const THIN_SHARE = 0.42;
const BAND_GAP = 0.5;
const GUTTER = 1.25;
/** At most this share of the width is spent on names and figures, on a wide canvas and on a narrow one. */
const LABEL_SHARE = 0.46;
const NARROW_LABEL_SHARE = 0.56;
const NARROW = 30;

interface Frame {
  left: number;
  columnWidth: number;
  rowTop: number[];
  rowHeight: number[];
  labelled: number;
}

export class HeatCanvas {
  readonly #canvas: HTMLCanvasElement;
  readonly #ink: CanvasRenderingContext2D;
  #family = "sans-serif";
  #width = 0;
  #height = 0;
  #frame: Frame | undefined;
  #scene: HeatScene | undefined;

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext("2d", { alpha: true });
    if (context === null) throw new Error("this browser has no canvas");
    this.#canvas = canvas;
    this.#ink = context;
  }

  resize(width: number, height: number, pixelRatio: number): void {
    const [pixelsWide, pixelsHigh] = [Math.round(width * pixelRatio), Math.round(height * pixelRatio)];
    this.#width = width;
    this.#height = height;
    if (this.#canvas.width !== pixelsWide) this.#canvas.width = pixelsWide;
    if (this.#canvas.height !== pixelsHigh) this.#canvas.height = pixelsHigh;
    this.#ink.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0);
  }

  draw(scene: HeatScene, ink: HeatInk): void {
    const context = this.#ink;
    context.clearRect(0, 0, this.#width, this.#height);
    this.#scene = scene;
    this.#family = ink.font;
    if (this.#width === 0 || scene.rows.length === 0) {
      this.#frame = undefined;
      return;
    }
    const frame = this.#lay(scene);
    this.#frame = frame;
    this.#drawAxis(scene, frame, ink);
    for (let row = 0; row < scene.rows.length; row++) this.#drawRow(scene, frame, ink, row);
    this.#drawThinLabel(scene, frame, ink);
    if (scene.cursor !== undefined) this.#drawCursor(scene, frame, ink, scene.cursor);
  }

  /** The cell at a point relative to the canvas; a point on a row's name gives the newest minute. */
  cellAt(x: number, y: number): HeatCell | undefined {
    const [frame, scene] = [this.#frame, this.#scene];
    if (frame === undefined || scene === undefined) return undefined;
    const row = frame.rowTop.findIndex((top, i) => y >= top && y < top + (frame.rowHeight[i] as number));
    if (row < 0) return undefined;
    const column = x < frame.left ? scene.minutes - 1 : Math.floor((x - frame.left) / frame.columnWidth);
    if (column >= scene.minutes) return undefined;
    return { row, minute: scene.lastMinute - scene.minutes + 1 + column };
  }

  /** The middle of a cell, relative to the canvas. */
  placeOf(cell: HeatCell): { x: number; y: number } | undefined {
    const [frame, scene] = [this.#frame, this.#scene];
    if (frame === undefined || scene === undefined || cell.row >= frame.rowTop.length) return undefined;
    const column = cell.minute - (scene.lastMinute - scene.minutes + 1);
    return {
      x: frame.left + (column + 0.5) * frame.columnWidth,
      y: (frame.rowTop[cell.row] as number) + (frame.rowHeight[cell.row] as number) / 2,
    };
  }

  #font(scene: HeatScene, size: number, weight = 500): void {
    this.#ink.font = `${weight} ${size * scene.rem}px ${this.#family}`;
  }

  #labelSize(scene: HeatScene): number {
    return this.#width / scene.rem > 60 ? 1.25 : 0.875;
  }

  #headingSize(scene: HeatScene): number {
    return this.#labelSize(scene) > 1 ? 0.95 : 0.75;
  }

  #lay(scene: HeatScene): Frame {
    const { rem, rows, minutes } = scene;
    const size = this.#labelSize(scene);
    this.#font(scene, size, 600);
    let widest = 0;
    for (const row of rows) widest = Math.max(widest, this.#ink.measureText(row.name).width);
    const share = this.#width / rem < NARROW ? NARROW_LABEL_SHARE : LABEL_SHARE;
    const figures = this.#figuresWidth(scene);
    const left = Math.round(Math.min(GUTTER * rem + widest + figures + 1.25 * rem, this.#width * share));

    const tall = (size > 1 ? LABELLED_WALL_MIN : LABELLED_MIN) * rem;
    const room = this.#height - AXIS * rem;
    let labelled = rows.length;
    let labelledHeight = Math.min(room / rows.length, LABELLED_MAX * rem);
    let thinHeight = 0;
    if (labelledHeight < tall) {
      const thin = Math.min(THIN * rem, (room * THIN_SHARE) / rows.length);
      labelled = Math.max(1, Math.floor((room - BAND_GAP * rem - rows.length * thin) / (tall - thin)));
      thinHeight = thin;
      labelledHeight = (room - BAND_GAP * rem - (rows.length - labelled) * thin) / labelled;
    }
    const rowTop: number[] = [];
    const rowHeight: number[] = [];
    let y = AXIS * rem;
    for (let row = 0; row < rows.length; row++) {
      if (row === labelled) y += BAND_GAP * rem;
      const height = row < labelled ? labelledHeight : thinHeight;
      rowTop.push(y);
      rowHeight.push(height);
      y += height;
    }
    return { left, columnWidth: (this.#width - left) / minutes, rowTop, rowHeight, labelled };
  }

  /** Room for the two figures after the name; the multiple is left out where there is no room for it. */
  #figuresWidth(scene: HeatScene): number {
    const size = this.#labelSize(scene);
    this.#font(scene, size, 500);
    let hour = 0;
    let times = 0;
    for (const row of scene.rows) {
      hour = Math.max(hour, this.#ink.measureText(row.hour).width);
      times = Math.max(times, this.#ink.measureText(row.times).width);
    }
    this.#font(scene, this.#headingSize(scene));
    hour = Math.max(hour, this.#ink.measureText(scene.headings.hour).width);
    times = Math.max(times, this.#ink.measureText(scene.headings.times).width);
    this.#timesWidth = this.#width / scene.rem > 40 ? times + 0.9 * scene.rem : 0;
    return hour + this.#timesWidth + 1.25 * scene.rem;
  }
  #timesWidth = 0;

  #drawAxis(scene: HeatScene, frame: Frame, ink: HeatInk): void {
    const context = this.#ink;
    const { rem, minutes, lastMinute, headings } = scene;
    const y = (AXIS - 0.7) * rem;
    context.textBaseline = "alphabetic";
    context.fillStyle = ink.muted;
    this.#font(scene, this.#headingSize(scene));
    const right = frame.left - 0.75 * rem;
    context.textAlign = "right";
    if (this.#timesWidth > 0) context.fillText(headings.times, right, y);
    context.fillText(headings.hour, right - this.#timesWidth, y);
    context.textAlign = "left";
    context.fillText(headings.name, GUTTER * rem, y);

    context.textAlign = "center";
    const size = this.#headingSize(scene);
    this.#font(scene, size);
    const step = frame.columnWidth * 10 > 5 * rem ? 10 : 15;
    const nowWidth = context.measureText(headings.now).width;
    const timeWidth = context.measureText("00:00").width;
    for (let column = 0; column < minutes; column++) {
      const minute = lastMinute - minutes + 1 + column;
      if (minute % step !== 0) continue;
      const x = frame.left + (column + 0.5) * frame.columnWidth;
      context.fillStyle = ink.line;
      context.fillRect(Math.round(x), AXIS * rem - 0.35 * rem, 1, 0.25 * rem);
      if (x - timeWidth / 2 < frame.left - 0.5 * rem || x + timeWidth / 2 > this.#width - nowWidth - 0.6 * rem)
        continue;
      context.fillStyle = ink.muted;
      context.fillText(scene.time(minute), x, y);
    }
    context.textAlign = "right";
    context.fillStyle = ink.text;
    this.#font(scene, size, 700);
    context.fillText(headings.now, this.#width, y);
  }

  #drawRow(scene: HeatScene, frame: Frame, ink: HeatInk, index: number): void {
    const context = this.#ink;
    const row = scene.rows[index] as HeatRow;
    const top = frame.rowTop[index] as number;
    const height = frame.rowHeight[index] as number;
    const named = index < frame.labelled;
    const gapX = frame.columnWidth >= 5 ? 1 : 0;
    const gapY = height >= 5 ? (named ? 2 : 1) : 0;
    const first = scene.lastMinute - scene.minutes + 1;
    for (let column = 0; column < scene.minutes; column++) {
      const units = row.units?.get(first + column) ?? 0;
      context.fillStyle = units > 0 ? heatColour(units, scene.top, scene.theme) : ink.empty;
      const x = Math.round(frame.left + column * frame.columnWidth);
      const end = Math.round(frame.left + (column + 1) * frame.columnWidth);
      const y = Math.round(top);
      context.fillRect(x, y, end - x - gapX, Math.max(1, Math.round(top + height) - y - gapY));
    }
    if (named) this.#drawLabel(scene, frame, ink, row, top + (height - gapY) / 2);
    if (row.alerted) this.#drawAlert(scene, frame, ink, index);
  }

  #drawLabel(scene: HeatScene, frame: Frame, ink: HeatInk, row: HeatRow, middle: number): void {
    const context = this.#ink;
    const { rem } = scene;
    const size = this.#labelSize(scene);
    context.textBaseline = "middle";
    let right = frame.left - 0.75 * rem;
    context.textAlign = "right";
    if (this.#timesWidth > 0) {
      this.#font(scene, size, row.alerted ? 700 : 500);
      context.fillStyle = row.alerted ? ink.alarm : ink.muted;
      context.fillText(row.times, right, middle);
      right -= this.#timesWidth;
    }
    this.#font(scene, size, 600);
    context.fillStyle = ink.text;
    context.fillText(row.hour, right, middle);
    const room = right - context.measureText(row.hour).width - (GUTTER + 0.5) * rem;
    context.textAlign = "left";
    this.#font(scene, size, row.alerted ? 700 : 500);
    context.fillText(this.#fit(row.name, room), GUTTER * rem, middle);
  }

  /** Takes characters from the middle until the text fits. */
  #fit(text: string, room: number): string {
    if (this.#ink.measureText(text).width <= room) return text;
    const characters = Array.from(text);
    for (let keep = characters.length - 1; keep >= 2; keep--) {
      const tail = Math.floor(keep / 2);
      const shorter = `${characters.slice(0, keep - tail).join("")}…${characters.slice(-tail).join("")}`;
      if (this.#ink.measureText(shorter).width <= room) return shorter;
    }
    return "…";
  }

  #drawAlert(scene: HeatScene, frame: Frame, ink: HeatInk, index: number): void {
    const context = this.#ink;
    const named = index < frame.labelled;
    const top = frame.rowTop[index] as number;
    const height = (frame.rowHeight[index] as number) - (named ? 2 : 0);
    const half = Math.min(0.42 * scene.rem, Math.max(height / 2, 0.26 * scene.rem));
    const middle = top + height / 2;
    // Marks of thin rows are taller than the rows, so neighbours stand side by side.
    const x = named ? 0.5 * scene.rem : frame.left - (0.9 + (index % 3) * 0.65) * scene.rem;
    context.fillStyle = ink.alarm;
    context.beginPath();
    context.moveTo(x, middle - half);
    context.lineTo(x + half, middle + half * 0.8);
    context.lineTo(x - half, middle + half * 0.8);
    context.closePath();
    context.fill();
    if (!named) return;
    context.strokeStyle = ink.alarm;
    context.lineWidth = 1.5;
    context.strokeRect(frame.left - 1.5, Math.round(top) - 1, this.#width - frame.left, height + 1.5);
  }

  #drawThinLabel(scene: HeatScene, frame: Frame, ink: HeatInk): void {
    const { rows, rem } = scene;
    if (frame.labelled >= rows.length) return;
    const top = frame.rowTop[frame.labelled] as number;
    const bottom = (frame.rowTop.at(-1) as number) + (frame.rowHeight.at(-1) as number);
    const context = this.#ink;
    context.fillStyle = ink.line;
    context.fillRect(frame.left - 0.35 * rem, top, 2, bottom - top);
    context.fillStyle = ink.muted;
    context.textAlign = "left";
    context.textBaseline = "middle";
    this.#font(scene, this.#labelSize(scene));
    context.fillText(scene.ranks(frame.labelled + 1, rows.length), GUTTER * rem, (top + bottom) / 2);
  }

  #drawCursor(scene: HeatScene, frame: Frame, ink: HeatInk, cell: HeatCell): void {
    const column = cell.minute - (scene.lastMinute - scene.minutes + 1);
    const top = frame.rowTop[cell.row];
    if (top === undefined || column < 0 || column >= scene.minutes) return;
    this.#ink.strokeStyle = ink.text;
    this.#ink.lineWidth = 2;
    this.#ink.strokeRect(
      Math.round(frame.left + column * frame.columnWidth) - 1,
      Math.round(top) - 1,
      frame.columnWidth + 1,
      (frame.rowHeight[cell.row] as number) + 1,
    );
  }
}

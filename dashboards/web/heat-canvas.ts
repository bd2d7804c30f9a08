/**
 * Draws SKU × minute on a canvas: a column a minute, the newest at the right, rows from hot to less hot. When not all
 * rows can be tall enough for a name, the hottest rows get one and the others follow below as thin strips. An alert is
 * marked by a triangle and a frame around the row, never by colour alone. Sizes are CSS pixels; the backing store
 * follows the device's pixel ratio. It keeps no data: every `draw` gets the whole scene.
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
  /** The label of the thin rows, from the first and the last rank among them. */
  ranks: (from: number, to: number) => string;
  /** The label of a column's minute. */
  time: (minute: number) => string;
  cursor: HeatCell | undefined;
  /** The page's root font size in CSS pixels: everything scales with it. */
  rem: number;
}

/** A row's index in `rows`, and a minute since the epoch. */
export interface HeatCell {
  row: number;
  minute: number;
}

/** The page's colours and font. */
export interface HeatColours {
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

/** Where the cells are. */
interface Grid {
  left: number;
  columnWidth: number;
  rowTop: number[];
  rowHeight: number[];
  labelled: number;
}

export class HeatCanvas {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #family = "sans-serif";
  #width = 0;
  #height = 0;
  #grid: Grid | undefined;
  #scene: HeatScene | undefined;

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext("2d", { alpha: true });
    if (context === null) throw new Error("this browser has no canvas");
    this.#canvas = canvas;
    this.#context = context;
  }

  resize(width: number, height: number, pixelRatio: number): void {
    const [pixelsWide, pixelsHigh] = [Math.round(width * pixelRatio), Math.round(height * pixelRatio)];
    this.#width = width;
    this.#height = height;
    if (this.#canvas.width !== pixelsWide) this.#canvas.width = pixelsWide;
    if (this.#canvas.height !== pixelsHigh) this.#canvas.height = pixelsHigh;
    this.#context.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0);
  }

  draw(scene: HeatScene, colours: HeatColours): void {
    const context = this.#context;
    context.clearRect(0, 0, this.#width, this.#height);
    this.#scene = scene;
    this.#family = colours.font;
    if (this.#width === 0 || scene.rows.length === 0) {
      this.#grid = undefined;
      return;
    }
    const grid = this.#layOut(scene);
    this.#grid = grid;
    this.#drawAxis(scene, grid, colours);
    for (let row = 0; row < scene.rows.length; row++) this.#drawRow(scene, grid, colours, row);
    this.#drawThinLabel(scene, grid, colours);
    if (scene.cursor !== undefined) this.#drawCursor(scene, grid, colours, scene.cursor);
  }

  /** The cell at a point relative to the canvas; a point on a row's name gives the newest minute. */
  cellAt(x: number, y: number): HeatCell | undefined {
    const [grid, scene] = [this.#grid, this.#scene];
    if (grid === undefined || scene === undefined) return undefined;
    const row = grid.rowTop.findIndex((top, i) => y >= top && y < top + (grid.rowHeight[i] as number));
    if (row < 0) return undefined;
    const column = x < grid.left ? scene.minutes - 1 : Math.floor((x - grid.left) / grid.columnWidth);
    if (column >= scene.minutes) return undefined;
    return { row, minute: scene.lastMinute - scene.minutes + 1 + column };
  }

  /** The middle of a cell, relative to the canvas. */
  centreOf(cell: HeatCell): { x: number; y: number } | undefined {
    const [grid, scene] = [this.#grid, this.#scene];
    if (grid === undefined || scene === undefined || cell.row >= grid.rowTop.length) return undefined;
    const column = cell.minute - (scene.lastMinute - scene.minutes + 1);
    return {
      x: grid.left + (column + 0.5) * grid.columnWidth,
      y: (grid.rowTop[cell.row] as number) + (grid.rowHeight[cell.row] as number) / 2,
    };
  }

  #font(scene: HeatScene, size: number, weight = 500): void {
    this.#context.font = `${weight} ${size * scene.rem}px ${this.#family}`;
  }

  #labelSize(scene: HeatScene): number {
    return this.#width / scene.rem > 60 ? 1.25 : 0.875;
  }

  #headingSize(scene: HeatScene): number {
    return this.#labelSize(scene) > 1 ? 0.95 : 0.75;
  }

  #layOut(scene: HeatScene): Grid {
    const { rem, rows, minutes } = scene;
    const size = this.#labelSize(scene);
    this.#font(scene, size, 600);
    let widest = 0;
    for (const row of rows) widest = Math.max(widest, this.#context.measureText(row.name).width);
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
      hour = Math.max(hour, this.#context.measureText(row.hour).width);
      times = Math.max(times, this.#context.measureText(row.times).width);
    }
    this.#font(scene, this.#headingSize(scene));
    hour = Math.max(hour, this.#context.measureText(scene.headings.hour).width);
    times = Math.max(times, this.#context.measureText(scene.headings.times).width);
    this.#timesWidth = this.#width / scene.rem > 40 ? times + 0.9 * scene.rem : 0;
    return hour + this.#timesWidth + 1.25 * scene.rem;
  }
  #timesWidth = 0;

  #drawAxis(scene: HeatScene, grid: Grid, colours: HeatColours): void {
    const context = this.#context;
    const { rem, minutes, lastMinute, headings } = scene;
    const y = (AXIS - 0.7) * rem;
    context.textBaseline = "alphabetic";
    context.fillStyle = colours.muted;
    this.#font(scene, this.#headingSize(scene));
    const right = grid.left - 0.75 * rem;
    context.textAlign = "right";
    if (this.#timesWidth > 0) context.fillText(headings.times, right, y);
    context.fillText(headings.hour, right - this.#timesWidth, y);
    context.textAlign = "left";
    context.fillText(headings.name, GUTTER * rem, y);

    context.textAlign = "center";
    const size = this.#headingSize(scene);
    this.#font(scene, size);
    const step = grid.columnWidth * 10 > 5 * rem ? 10 : 15;
    const nowWidth = context.measureText(headings.now).width;
    const timeWidth = context.measureText("00:00").width;
    for (let column = 0; column < minutes; column++) {
      const minute = lastMinute - minutes + 1 + column;
      if (minute % step !== 0) continue;
      const x = grid.left + (column + 0.5) * grid.columnWidth;
      context.fillStyle = colours.line;
      context.fillRect(Math.round(x), AXIS * rem - 0.35 * rem, 1, 0.25 * rem);
      if (x - timeWidth / 2 < grid.left - 0.5 * rem || x + timeWidth / 2 > this.#width - nowWidth - 0.6 * rem) continue;
      context.fillStyle = colours.muted;
      context.fillText(scene.time(minute), x, y);
    }
    context.textAlign = "right";
    context.fillStyle = colours.text;
    this.#font(scene, size, 700);
    context.fillText(headings.now, this.#width, y);
  }

  #drawRow(scene: HeatScene, grid: Grid, colours: HeatColours, index: number): void {
    const context = this.#context;
    const row = scene.rows[index] as HeatRow;
    const top = grid.rowTop[index] as number;
    const height = grid.rowHeight[index] as number;
    const named = index < grid.labelled;
    const gapX = grid.columnWidth >= 5 ? 1 : 0;
    const gapY = height >= 5 ? (named ? 2 : 1) : 0;
    const first = scene.lastMinute - scene.minutes + 1;
    for (let column = 0; column < scene.minutes; column++) {
      const units = row.units?.get(first + column) ?? 0;
      context.fillStyle = units > 0 ? heatColour(units, scene.top, scene.theme) : colours.empty;
      const x = Math.round(grid.left + column * grid.columnWidth);
      const end = Math.round(grid.left + (column + 1) * grid.columnWidth);
      const y = Math.round(top);
      context.fillRect(x, y, end - x - gapX, Math.max(1, Math.round(top + height) - y - gapY));
    }
    if (named) this.#drawLabel(scene, grid, colours, row, top + (height - gapY) / 2);
    if (row.alerted) this.#drawAlert(scene, grid, colours, index);
  }

  #drawLabel(scene: HeatScene, grid: Grid, colours: HeatColours, row: HeatRow, middle: number): void {
    const context = this.#context;
    const { rem } = scene;
    const size = this.#labelSize(scene);
    context.textBaseline = "middle";
    let right = grid.left - 0.75 * rem;
    context.textAlign = "right";
    if (this.#timesWidth > 0) {
      this.#font(scene, size, row.alerted ? 700 : 500);
      context.fillStyle = row.alerted ? colours.alarm : colours.muted;
      context.fillText(row.times, right, middle);
      right -= this.#timesWidth;
    }
    this.#font(scene, size, 600);
    context.fillStyle = colours.text;
    context.fillText(row.hour, right, middle);
    const room = right - context.measureText(row.hour).width - (GUTTER + 0.5) * rem;
    context.textAlign = "left";
    this.#font(scene, size, row.alerted ? 700 : 500);
    context.fillText(this.#fit(row.name, room), GUTTER * rem, middle);
  }

  /** Removes characters from the middle until the text fits. */
  #fit(text: string, room: number): string {
    if (this.#context.measureText(text).width <= room) return text;
    const characters = Array.from(text);
    for (let keep = characters.length - 1; keep >= 2; keep--) {
      const tail = Math.floor(keep / 2);
      const shorter = `${characters.slice(0, keep - tail).join("")}…${characters.slice(-tail).join("")}`;
      if (this.#context.measureText(shorter).width <= room) return shorter;
    }
    return "…";
  }

  #drawAlert(scene: HeatScene, grid: Grid, colours: HeatColours, index: number): void {
    const context = this.#context;
    const named = index < grid.labelled;
    const top = grid.rowTop[index] as number;
    const height = (grid.rowHeight[index] as number) - (named ? 2 : 0);
    const half = Math.min(0.42 * scene.rem, Math.max(height / 2, 0.26 * scene.rem));
    const middle = top + height / 2;
    // The triangles of thin rows are taller than the rows, so those of neighbours are drawn side by side.
    const x = named ? 0.5 * scene.rem : grid.left - (0.9 + (index % 3) * 0.65) * scene.rem;
    context.fillStyle = colours.alarm;
    context.beginPath();
    context.moveTo(x, middle - half);
    context.lineTo(x + half, middle + half * 0.8);
    context.lineTo(x - half, middle + half * 0.8);
    context.closePath();
    context.fill();
    if (!named) return;
    context.strokeStyle = colours.alarm;
    context.lineWidth = 1.5;
    context.strokeRect(grid.left - 1.5, Math.round(top) - 1, this.#width - grid.left, height + 1.5);
  }

  #drawThinLabel(scene: HeatScene, grid: Grid, colours: HeatColours): void {
    const { rows, rem } = scene;
    if (grid.labelled >= rows.length) return;
    const top = grid.rowTop[grid.labelled] as number;
    const bottom = (grid.rowTop.at(-1) as number) + (grid.rowHeight.at(-1) as number);
    const context = this.#context;
    context.fillStyle = colours.line;
    context.fillRect(grid.left - 0.35 * rem, top, 2, bottom - top);
    context.fillStyle = colours.muted;
    context.textAlign = "left";
    context.textBaseline = "middle";
    this.#font(scene, this.#labelSize(scene));
    context.fillText(scene.ranks(grid.labelled + 1, rows.length), GUTTER * rem, (top + bottom) / 2);
  }

  #drawCursor(scene: HeatScene, grid: Grid, colours: HeatColours, cell: HeatCell): void {
    const column = cell.minute - (scene.lastMinute - scene.minutes + 1);
    const top = grid.rowTop[cell.row];
    if (top === undefined || column < 0 || column >= scene.minutes) return;
    this.#context.strokeStyle = colours.text;
    this.#context.lineWidth = 2;
    this.#context.strokeRect(
      Math.round(grid.left + column * grid.columnWidth) - 1,
      Math.round(top) - 1,
      grid.columnWidth + 1,
      (grid.rowHeight[cell.row] as number) + 1,
    );
  }
}

// A map of one layer on the product's own grid: cells are drawn where they lie on the projection, and coasts and
// borders come in columns and rows, so that nothing is projected here.

import { NO_VALUE, indexer, rgb } from "./palettes.js";

const SEA = "#dfe7ec";
const LAND = "#f7f5f0";
const COAST = "#2b3138";
const BORDER = "#59616a";
const MARGIN_CELLS = 5;
const LARGEST_ZOOM = 12;
const CLICK_PIXELS = 6;
const TICK_FONT = "11px system-ui, sans-serif";

// What both maps of a pair share: which part of the grid is seen. zoom 1 shows all.
export class Viewport {
  constructor() {
    this.reset();
    this.listeners = new Set();
  }

  reset() {
    this.zoom = 1;
    this.centre = null;
    this.changed?.();
  }

  // Zoom by a factor around a place in columns and rows.
  zoomBy(factor, at = this.centre) {
    const zoom = Math.min(LARGEST_ZOOM, Math.max(1, this.zoom * factor));
    if (zoom === 1) this.centre = null;
    else if (at && this.centre) {
      const kept = this.zoom / zoom;
      this.centre = { column: at.column + (this.centre.column - at.column) * kept, row: at.row + (this.centre.row - at.row) * kept };
    } else this.centre = at;
    this.zoom = zoom;
    this.changed();
  }

  changed() {
    for (const listener of this.listeners ?? []) listener();
  }
}

export class RainMap {
  // canvas: focusable. viewport: shared. on: {choose(cell), hover(cell or null)}; a cell is {column, row}.
  constructor(canvas, viewport, on) {
    this.canvas = canvas;
    this.viewport = viewport;
    this.on = on;
    this.image = document.createElement("canvas");
    this.marker = null;
    this.cursor = null;
    this.language = "en";
    this._frame = 0;
    viewport.listeners.add(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
    this._listen();
  }

  // The grid and the lines of a product; paths are made once per grid.
  setGround(grid, map) {
    if (this.grid?.digest === grid.digest) return;
    this.grid = grid;
    this.map = map;
    this.image.width = grid.columns;
    this.image.height = grid.rows;
    const path = (lines) => {
      const all = new Path2D();
      for (const line of lines) {
        all.moveTo(line[0], line[1]);
        for (let index = 2; index < line.length; index += 2) all.lineTo(line[index], line[index + 1]);
      }
      return all;
    };
    this.paths = Object.fromEntries(["land", "lakes", "countries", "provinces"].map((name) => [name, path(map[name])]));
    this.paths.graticule = path([...map.parallels, ...map.meridians].map((one) => one.line));
  }

  // {integers, step, missing} by a palette; message: why there is nothing to show.
  setValues(values, palette, message) {
    this.message = message;
    const { columns, rows, first_row_is_south: southFirst } = this.grid;
    const context = this.image.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    if (values) {
      const colours = palette.colours.map((colour) => (colour ? rgb(colour) : null));
      const nothing = rgb(NO_VALUE);
      const indexOf = indexer(palette, values.step);
      for (let cell = 0; cell < values.integers.length; cell += 1) {
        const integer = values.integers[cell];
        const colour = integer === values.missing ? nothing : colours[indexOf(integer)];
        if (!colour) continue;
        const row = Math.floor(cell / columns);
        const at = 4 * ((southFirst ? rows - 1 - row : row) * columns + (cell % columns));
        pixels.data.set([...colour, 255], at);
      }
    }
    context.putImageData(pixels, 0, 0);
    this.draw();
  }

  setMarker(cell) {
    this.marker = cell;
    this.draw();
  }

  draw() {
    if (!this._frame) this._frame = requestAnimationFrame(() => {
      this._frame = 0;
      if (this.grid) this._draw();
    });
  }

  // Latitude and longitude of a cell, by linear interpolation in the mesh.
  position({ column, row }) {
    const { rows, columns, latitude, longitude } = this.map.mesh;
    const [r, u] = between(rows, row);
    const [c, v] = between(columns, column);
    const at = (field) =>
      (field[r][c] * (1 - v) + field[r][c + 1] * v) * (1 - u) + (field[r + 1][c] * (1 - v) + field[r + 1][c + 1] * v) * u;
    return { latitude: at(latitude), longitude: at(longitude) };
  }

  // Pixels of CSS per column and row, and where the centre of the first cell lies.
  _place() {
    const { rows, columns, cell_aspect: aspect, first_row_is_south: southFirst } = this.grid;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const across = Math.min(width / (columns + 2 * MARGIN_CELLS), height / ((rows + 2 * MARGIN_CELLS) * aspect)) * this.viewport.zoom;
    const down = across * aspect;
    const centre = this._kept(width / across, height / down);
    const sign = southFirst ? -1 : 1;
    return { across, down: sign * down, x: width / 2 - centre.column * across, y: height / 2 - sign * centre.row * down, width, height };
  }

  // The centre of the view, so that the grid is not dragged out of sight.
  _kept(wide, high) {
    const { rows, columns } = this.grid;
    const limit = (value, count, seen) => {
      const [low, high] = [-MARGIN_CELLS + seen / 2, count - 1 + MARGIN_CELLS - seen / 2];
      return low > high ? (count - 1) / 2 : Math.min(high, Math.max(low, value));
    };
    const wanted = this.viewport.centre ?? { column: (columns - 1) / 2, row: (rows - 1) / 2 };
    const kept = { column: limit(wanted.column, columns, wide), row: limit(wanted.row, rows, high) };
    if (this.viewport.centre) this.viewport.centre = kept;
    return kept;
  }

  _draw() {
    const ratio = window.devicePixelRatio || 1;
    const place = this._place();
    this.place = place;
    const { across, down, x, y, width, height } = place;
    if (!width || !height) return;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const matrix = new DOMMatrix([across, 0, 0, down, x, y]);
    const shown = (path) => {
      const moved = new Path2D();
      moved.addPath(path, matrix);
      return moved;
    };
    const land = shown(this.paths.land);
    const frame = this._frameBox(place);
    context.save();
    context.beginPath();
    context.rect(...frame.outer);
    context.clip();
    this._drawGround(context, land, shown(this.paths.lakes), frame);
    this._drawCells(context, frame.inner);
    this._drawLines(context, land, shown);
    this._drawVeil(context, frame);
    context.restore();
    this._drawPlaces(context, place, frame.inner);
    this._drawTicks(context, place, frame.inner);
    this._drawMarks(context, place);
    if (this.message) drawMessage(context, this.message, frame.inner, width);
  }

  // [left, top, width, height] of the cells, and of what is shown around them.
  _frameBox({ across, down, x, y }) {
    const { rows, columns } = this.grid;
    const size = Math.abs(down);
    const top = down < 0 ? y - (rows - 0.5) * size : y - 0.5 * size;
    const inner = [x - 0.5 * across, top, columns * across, rows * size];
    const margin = MARGIN_CELLS * across;
    return { inner, outer: [inner[0] - margin, inner[1] - margin, inner[2] + 2 * margin, inner[3] + 2 * margin] };
  }

  _drawGround(context, land, lakes, frame) {
    context.fillStyle = SEA;
    context.fillRect(...frame.outer);
    context.fillStyle = LAND;
    context.fill(land, "evenodd");
    context.fillStyle = SEA;
    context.fill(lakes, "evenodd");
  }

  _drawCells(context, [left, top, width, height]) {
    // A cell is an area of its own value: nothing is smoothed.
    context.imageSmoothingEnabled = false;
    context.drawImage(this.image, left, top, width, height);
  }

  _drawLines(context, land, shown) {
    const stroke = (path, colour, lineWidth, dash = []) => {
      context.strokeStyle = colour;
      context.lineWidth = lineWidth;
      context.setLineDash(dash);
      context.stroke(path);
      context.setLineDash([]);
    };
    context.lineJoin = "round";
    stroke(shown(this.paths.graticule), "rgba(60, 70, 80, 0.35)", 0.6, [2, 3]);
    stroke(shown(this.paths.provinces), "rgba(255, 255, 255, 0.45)", 1.8);
    stroke(shown(this.paths.provinces), BORDER, 0.7);
    stroke(land, "rgba(255, 255, 255, 0.55)", 2.4);
    stroke(land, COAST, 0.9);
    stroke(shown(this.paths.lakes), COAST, 0.5);
    stroke(shown(this.paths.countries), COAST, 1.3, [6, 3]);
  }

  // What lies outside the grid is there to recognise the place, not to be read.
  _drawVeil(context, { inner, outer }) {
    context.beginPath();
    context.rect(...outer);
    context.rect(...inner);
    context.fillStyle = "rgba(255, 255, 255, 0.6)";
    context.fill("evenodd");
    context.strokeStyle = "#8b939b";
    context.lineWidth = 1;
    context.strokeRect(...inner);
  }

  _drawPlaces(context, { across, down, x, y, width, height }, [left, top, wide, high]) {
    const rank = across > 4.2 ? 2 : 1;
    context.font = `${across > 3 ? 12 : 11}px system-ui, sans-serif`;
    context.lineJoin = "round";
    context.textBaseline = "middle";
    const taken = [];
    for (const one of this.map.places) {
      if (one.rank > rank) continue;
      const [px, py] = [x + one.column * across, y + one.row * down];
      if (px < 0 || py < 0 || px > width || py > height) continue;
      const name = one[this.language] ?? one.en;
      const length = context.measureText(name).width;
      const onLeft = px + 6 + length > Math.min(width, left + wide);
      const box = { left: onLeft ? px - 6 - length : px + 6, top: py - 7, wide: length, high: 14 };
      if (taken.some((other) => overlap(box, other))) continue;
      taken.push(box);
      context.beginPath();
      context.arc(px, py, 2, 0, 2 * Math.PI);
      context.fillStyle = "#11161b";
      context.strokeStyle = "rgba(255, 255, 255, 0.9)";
      context.lineWidth = 3;
      context.stroke();
      context.fill();
      context.strokeText(name, box.left, py);
      context.fillText(name, box.left, py);
    }
  }

  // Degrees along the left and the lower edge, where the lines leave the grid.
  _drawTicks(context, { across, down, x, y, width, height }, [left, top, wide, high]) {
    const [edgeLeft, edgeBottom] = [Math.max(left, 0), Math.min(top + high, height)];
    context.font = TICK_FONT;
    context.lineWidth = 3;
    context.strokeStyle = "rgba(255, 255, 255, 0.85)";
    context.fillStyle = "#3d454d";
    const write = (label, px, py, align) => {
      context.textAlign = align;
      context.strokeText(label, px, py);
      context.fillText(label, px, py);
    };
    context.textBaseline = "middle";
    for (const { degrees, line } of this.map.parallels) {
      const crossing = cross(line, 0, (edgeLeft - x) / across);
      const py = crossing === null ? null : y + crossing * down;
      if (py !== null && py > Math.max(top, 0) + 8 && py < edgeBottom - 22) write(`${degrees}°N`, edgeLeft + 4, py, "left");
    }
    context.textBaseline = "bottom";
    for (const { degrees, line } of this.map.meridians) {
      const crossing = cross(line, 1, (edgeBottom - y) / down);
      const px = crossing === null ? null : x + crossing * across;
      if (px !== null && px > edgeLeft + 16 && px < Math.min(left + wide, width) - 16) write(`${degrees}°E`, px, edgeBottom - 3, "center");
    }
    context.textAlign = "left";
  }

  _drawMarks(context, { across, down, x, y }) {
    if (this.marker) {
      const [px, py] = [x + this.marker.column * across, y + this.marker.row * down];
      for (const [colour, lineWidth] of [["#ffffff", 4.5], ["#111111", 2]]) {
        context.strokeStyle = colour;
        context.lineWidth = lineWidth;
        context.beginPath();
        context.arc(px, py, 7, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    if (this.cursor && document.activeElement === this.canvas) {
      const [px, py] = [x + this.cursor.column * across, y + this.cursor.row * down];
      for (const [colour, lineWidth] of [["#ffffff", 4], ["#111111", 1.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = lineWidth;
        context.beginPath();
        context.moveTo(px - 12, py);
        context.lineTo(px + 12, py);
        context.moveTo(px, py - 12);
        context.lineTo(px, py + 12);
        context.stroke();
      }
    }
  }

  // The cell under a place on the screen, null outside the grid.
  _cellAt(event) {
    const { across, down, x, y } = this._place();
    const box = this.canvas.getBoundingClientRect();
    const exact = { column: (event.clientX - box.left - x) / across, row: (event.clientY - box.top - y) / down };
    const [column, row] = [Math.round(exact.column), Math.round(exact.row)];
    const inside = column >= 0 && row >= 0 && column < this.grid.columns && row < this.grid.rows;
    return { exact, cell: inside ? { column, row } : null };
  }

  _listen() {
    const pointers = new Map();
    let travelled = 0;
    this.canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, event);
      travelled = pointers.size > 1 ? Infinity : 0;
      if (this.viewport.zoom > 1 || pointers.size > 1) this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.grid) return;
      const before = pointers.get(event.pointerId);
      if (before) {
        travelled += Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY);
        this._drag(pointers, before, event);
        pointers.set(event.pointerId, event);
      } else this.on.hover(this._cellAt(event).cell);
    });
    this.canvas.addEventListener("pointerup", (event) => {
      const pressed = pointers.delete(event.pointerId);
      if (!this.grid || !pressed || travelled > CLICK_PIXELS) return;
      const { cell } = this._cellAt(event);
      if (cell) this.on.choose(cell);
    });
    for (const name of ["pointercancel", "pointerleave"])
      this.canvas.addEventListener(name, (event) => {
        pointers.delete(event.pointerId);
        this.on.hover(null);
      });
    this.canvas.addEventListener("wheel", (event) => {
      if (!this.grid) return;
      event.preventDefault();
      this.viewport.zoomBy(Math.exp(-event.deltaY / 400), this._centred(event));
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => this._press(event));
    for (const name of ["focus", "blur"]) this.canvas.addEventListener(name, () => this.draw());
  }

  // Zooming around a place needs a centre that is known.
  _centred(event) {
    const { rows, columns } = this.grid;
    this.viewport.centre ??= { column: (columns - 1) / 2, row: (rows - 1) / 2 };
    return this._cellAt(event).exact;
  }

  _drag(pointers, before, event) {
    const { across, down } = this._place();
    if (pointers.size === 2) {
      const [other] = [...pointers.values()].filter((one) => one.pointerId !== event.pointerId);
      const length = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      if (length(before) > 0) this.viewport.zoomBy(length(event) / length(before), this._centred(event));
    } else if (this.viewport.zoom > 1 && this.viewport.centre) {
      this.viewport.centre = {
        column: this.viewport.centre.column - (event.clientX - before.clientX) / across,
        row: this.viewport.centre.row - (event.clientY - before.clientY) / down,
      };
      this.viewport.changed();
    }
  }

  _press(event) {
    if (!this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const up = this.grid.first_row_is_south ? 1 : -1;
    const step = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, up * step], ArrowDown: [0, -up * step] };
    const { rows, columns } = this.grid;
    this.cursor ??= this.marker ?? { column: Math.floor(columns / 2), row: Math.floor(rows / 2) };
    if (moves[event.key]) {
      const [across, along] = moves[event.key];
      this.cursor = {
        column: Math.min(columns - 1, Math.max(0, this.cursor.column + across)),
        row: Math.min(rows - 1, Math.max(0, this.cursor.row + along)),
      };
      this.on.hover(this.cursor);
      this.draw();
    } else if (event.key === "Enter") this.on.choose(this.cursor);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// The interval of a sorted list that holds a value, and how far into it the value lies, 0 to 1.
function between(places, value) {
  let index = places.findLastIndex((place) => place <= value);
  index = Math.min(Math.max(index, 0), places.length - 2);
  return [index, (value - places[index]) / (places[index + 1] - places[index])];
}

// Where a line of x, y, x, y ... reaches a value of one of the two: the other one there, null if it does not.
function cross(line, axis, value) {
  for (let index = 0; index + 3 < line.length; index += 2) {
    const [first, second] = [line[index + axis], line[index + 2 + axis]];
    if (first !== second && Math.min(first, second) <= value && value <= Math.max(first, second)) {
      const share = (value - first) / (second - first);
      return line[index + 1 - axis] * (1 - share) + line[index + 3 - axis] * share;
    }
  }
  return null;
}

function overlap(one, other) {
  return one.left < other.left + other.wide && other.left < one.left + one.wide && one.top < other.top + other.high && other.top < one.top + one.high;
}

function drawMessage(context, message, [left, top, wide, high], width) {
  context.save();
  context.font = "600 14px system-ui, sans-serif";
  const length = context.measureText(message).width + 24;
  const [cx, cy] = [Math.min(Math.max(left + wide / 2, length / 2), width - length / 2), top + high / 2];
  context.fillStyle = "rgba(255, 255, 255, 0.92)";
  context.strokeStyle = "#59616a";
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(cx - length / 2, cy - 18, length, 36, 6);
  context.fill();
  context.stroke();
  context.fillStyle = "#1b2127";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(message, cx, cy);
  context.restore();
}

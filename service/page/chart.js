// Small charts as SVG: a plot area with axes, and marks in the units of its axes.

const NAMESPACE = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, text) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

export class Plot {
  // size: {width, height}; x, y: [low, high]; inset: space for labels.
  constructor({ width, height, x, y, label, inset = { left: 40, right: 12, top: 10, bottom: 26 } }) {
    this.width = width;
    this.height = height;
    this.inset = inset;
    this.x = x;
    this.y = y;
    this.root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" });
  }

  px(value) {
    const { left, right } = this.inset;
    return left + ((value - this.x[0]) / (this.x[1] - this.x[0])) * (this.width - left - right);
  }

  py(value) {
    const { top, bottom } = this.inset;
    return this.height - bottom - ((value - this.y[0]) / (this.y[1] - this.y[0])) * (this.height - top - bottom);
  }

  add(name, attributes, text) {
    const element = svg(name, attributes, text);
    this.root.append(element);
    return element;
  }

  // ticks: [[value, label], ...]
  yAxis(ticks, title) {
    const { left, right } = this.inset;
    for (const [value, label] of ticks) {
      const y = this.py(value);
      this.add("line", { x1: left, x2: this.width - right, y1: y, y2: y, class: "rule" });
      this.add("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, label);
    }
    if (title) this.add("text", { x: 12, y: this.height / 2, transform: `rotate(-90 12 ${this.height / 2})`, "text-anchor": "middle" }, title);
  }

  xAxis(ticks, title) {
    const bottom = this.height - this.inset.bottom;
    this.add("line", { x1: this.inset.left, x2: this.width - this.inset.right, y1: bottom, y2: bottom, class: "axis" });
    for (const [value, label] of ticks) this.add("text", { x: this.px(value), y: bottom + 16, "text-anchor": "middle" }, label);
    if (title) this.add("text", { x: (this.inset.left + this.width - this.inset.right) / 2, y: this.height - 4, "text-anchor": "middle" }, title);
  }

  // points: [[x, y or null], ...]; a null breaks the line. shape: circle, square or diamond.
  series(points, className, shape, title = () => "") {
    let path = "";
    let pen = "M";
    for (const [x, y] of points) {
      if (y === null) pen = "M";
      else {
        path += `${pen}${this.px(x).toFixed(1)} ${this.py(y).toFixed(1)}`;
        pen = "L";
      }
    }
    if (path) this.add("path", { d: path, class: `line ${className}` });
    for (const [x, y] of points) if (y !== null) this.mark(x, y, className, shape, title(x, y));
  }

  mark(x, y, className, shape, title) {
    const [px, py] = [this.px(x), this.py(y)];
    const shapes = {
      circle: () => svg("circle", { cx: px, cy: py, r: 4 }),
      square: () => svg("rect", { x: px - 3.6, y: py - 3.6, width: 7.2, height: 7.2 }),
      diamond: () => svg("path", { d: `M${px} ${py - 5.4}L${px + 5.4} ${py}L${px} ${py + 5.4}L${px - 5.4} ${py}Z` }),
    };
    const element = shapes[shape]();
    element.setAttribute("class", `mark ${className}`);
    if (title) element.append(svg("title", {}, title));
    this.root.append(element);
  }

  bar(x, y, wide, className, title) {
    const base = this.py(this.y[0]);
    const top = Math.min(this.py(y), base - (y > this.y[0] ? 1 : 0));
    const element = this.add("rect", { x: this.px(x - wide / 2), y: top, width: this.px(wide) - this.px(0), height: Math.max(0, base - top), class: className });
    if (title) element.append(svg("title", {}, title));
  }
}

// A list of what the marks of a chart mean: [{className, shape, label}].
export function key(entries) {
  const list = document.createElement("ul");
  list.className = "key";
  for (const { className, shape, label } of entries) {
    const item = document.createElement("li");
    const plot = new Plot({ width: 18, height: 12, x: [0, 1], y: [0, 1], label: "", inset: { left: 0, right: 0, top: 0, bottom: 0 } });
    plot.root.setAttribute("aria-hidden", "true");
    plot.root.removeAttribute("aria-label");
    plot.root.removeAttribute("role");
    if (shape === "bar") plot.add("rect", { x: 3, y: 1, width: 12, height: 10, class: className });
    else {
      plot.add("path", { d: "M0 6L18 6", class: `line ${className}` });
      plot.mark(0.5, 0.5, className, shape);
    }
    item.append(plot.root, label);
    list.append(item);
  }
  return list;
}

// A round upper end for an axis that has to hold a value, and ticks up to it.
export function roundUp(value, smallest) {
  const needed = Math.max(value, smallest);
  const power = 10 ** Math.floor(Math.log10(needed));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= needed / 1.0000001);
  return step;
}

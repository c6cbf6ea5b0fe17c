// The legend of a layer: colours with the values at which they change.

import { paletteOf } from "./layers.js";
import { NO_VALUE } from "./palettes.js";
import { text } from "./texts.js";

export function drawLegend(element, layer, unit) {
  const palette = paletteOf(layer);
  const bar = document.createElement("ul");
  bar.className = palette.keys ? "names" : "bar";
  const caption = document.createElement("p");
  caption.textContent = unit;
  for (const entry of palette.keys ? names(palette) : steps(palette, layer)) bar.append(swatch(entry));
  element.replaceChildren(bar, caption);
}

function names(palette) {
  const entries = palette.keys.map((key, index) => ({ colour: palette.colours[index], label: text(key) }));
  return [...entries, { colour: NO_VALUE, label: text("no_value") }];
}

function steps(palette, layer) {
  const isProbability = layer === "rain" || layer === "heavy" || layer === "why";
  const shown = palette.levels.map((level) => String(isProbability ? Math.round(100 * level) : level));
  return palette.colours.map((colour, index) => {
    const [low, high] = palette.diverging ? [shown[index - 1], shown[index]] : [shown[index], shown[index + 1]];
    let title = high === undefined ? text("from_on", { value: low }) : text("between", { low, high });
    if (low === undefined) title = text("less_than", { value: high });
    return { colour, label: low ?? "", title };
  });
}

function swatch({ colour, label, title }) {
  const item = document.createElement("li");
  const box = document.createElement("span");
  box.className = "swatch";
  if (colour) box.style.backgroundColor = colour;
  else box.classList.add("empty");
  const words = document.createElement("span");
  words.textContent = label;
  if (title) item.title = title;
  item.append(box, words);
  return item;
}

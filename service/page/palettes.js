// Colours of the layers. Lightness falls steadily with the amount, so that the order is seen by every kind of
// colour vision; the hues are those that rain has on most maps, blue to violet.

export const RAIN = {
  levels: [0.1, 0.5, 1, 2, 5, 10, 20, 30, 50],
  colours: ["#cfe8f5", "#a5d3ec", "#74b9e1", "#3f98d1", "#1f6fb8", "#4b4bb0", "#6b2a9c", "#6d0f6e", "#3b0236"],
  open: true,
};

export const PROBABILITY = {
  levels: [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
  colours: ["#e9f3fa", "#d3e6f4", "#b7d7ed", "#94c4e3", "#6caed7", "#4896c9", "#2c7cb9", "#1862a3", "#0c4783", "#08306b"],
  open: true,
};

// The highest class is rare: its probability seldom reaches a half.
export const RARE_PROBABILITY = {
  levels: [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8],
  colours: ["#fff3c4", "#fee59a", "#fed272", "#feb550", "#fd9640", "#f87132", "#e94a26", "#cd2320", "#9f0f26", "#64031f"],
  open: true,
};

// From brown, too little, over nothing to blue-green, too much.
export const DIFFERENCE = {
  levels: [-20, -10, -5, -2, -0.5, 0.5, 2, 5, 10, 20],
  colours: ["#472803", "#774508", "#a8722a", "#cfae72", "#eedfbe", null, "#c6e9e3", "#7fcabf", "#379a91", "#056960", "#013c33"],
  open: true,
  diverging: true,
};

// Relative to the largest value: a pattern, and no amount.
export const RELEVANCE = {
  levels: [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
  colours: ["#f1eaf6", "#e0d2ec", "#cdb8e0", "#b99dd4", "#a582c7", "#9168ba", "#7d4eac", "#69359c", "#521f85", "#390a66"],
  open: true,
};

export const CLASSES = {
  keys: ["no_rain_class", "rain_class", "heavy_class"],
  colours: [null, "#5aa6dc", "#c4401c"],
};

// After Okabe and Ito, who chose them for colour-blind readers.
export const OUTCOMES = {
  keys: ["correct_negative", "hit", "miss", "false_alarm"],
  colours: [null, "#00795a", "#d55e00", "#7cc4f0"],
};

export const NO_VALUE = "#b9bec4";

export function rgb(colour) {
  const number = parseInt(colour.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

// A function from an integer, a number of steps, to an index of colours; -1 below the first level.
export function indexer(palette, step) {
  if (palette.keys) return (integer) => integer;
  const levels = palette.levels.map((level) => Math.round(level / step));
  const shift = palette.diverging ? 1 : 0;
  return (integer) => {
    let index = -1 + shift;
    for (const level of levels) {
      if (integer < level) break;
      index += 1;
    }
    return index;
  };
}

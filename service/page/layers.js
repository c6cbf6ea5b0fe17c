// The layers that a forecaster chooses from, and how each comes from what the service stores.

import { CLASSES, DIFFERENCE, OUTCOMES, PROBABILITY, RAIN, RARE_PROBABILITY, RELEVANCE } from "./palettes.js";
import { text } from "./texts.js";

export const LAYERS = ["rain", "heavy", "class", "raw", "observed", "difference", "hits", "raw_hits"];
// Beside them where there is an explanation of a cell.
export const WHY = "why";
const WITH_OBSERVATION = new Set(["observed", "difference", "hits", "raw_hits"]);

const PALETTES = {
  rain: PROBABILITY,
  heavy: RARE_PROBABILITY,
  class: CLASSES,
  raw: RAIN,
  observed: RAIN,
  difference: DIFFERENCE,
  hits: OUTCOMES,
  raw_hits: OUTCOMES,
  why: RELEVANCE,
};

export function paletteOf(layer) {
  return PALETTES[layer];
}

export function comparesHits(layer) {
  return layer === "hits" || layer === "raw_hits";
}

// Why a layer has nothing to show at a lead: a key of the texts, or null.
export function absence(product, layer, leadIndex) {
  const lead = product.document.leads[leadIndex];
  if (!lead.present && layer !== "observed") return "lead_missing";
  if (layer === WHY) {
    if (!product.explained) return "why_none";
    return product.explained.explanation.lead_hours === lead.lead_hours ? null : "why_other_lead";
  }
  if (WITH_OBSERVATION.has(layer) && !product.hasObservation(leadIndex)) return "no_observation";
  return null;
}

// What the numbers mean, for the legend.
export function unitOf(product, layer, threshold) {
  const { thresholds, source } = product.document;
  const [low, high] = [thresholds[0], thresholds[thresholds.length - 1]];
  switch (layer) {
    case "rain":
      return text("unit_probability", { threshold: low.threshold_mm });
    case "heavy":
      return text("unit_probability", { threshold: high.threshold_mm });
    case "class":
      if (low.decision_probability === null) return text("unit_class_likely");
      return text("unit_class", { rain: percent(low.decision_probability), heavy: percent(high.decision_probability) });
    case WHY:
      return text("unit_why", whyWords(product));
    case "difference":
      return text("unit_difference");
    case "hits":
      return text("unit_hits", { threshold, who: text("who_model") });
    case "raw_hits":
      return text("unit_hits", { threshold, who: source });
    default:
      return text("unit_rain");
  }
}

// {integers, step, missing} of one lead: what palettes.indexer takes. Missing is null in the integers' place.
export async function valuesOf(product, layer, leadIndex, threshold) {
  const names = product.probabilityNames;
  if (layer === WHY) return product.explanationValues();
  if (layer === "difference") {
    const [raw, observed] = await Promise.all([product.layer("raw"), product.layer("observed")]);
    const [ours, seen] = [product.slice(raw.values, leadIndex), product.slice(observed.values, leadIndex)];
    const missing = raw.missing;
    const integers = Int32Array.from(ours, (one, cell) =>
      one === raw.missing || seen[cell] === observed.missing ? missing : one - seen[cell]);
    return { integers, step: raw.step, missing };
  }
  if (comparesHits(layer)) {
    const [forecast, observed] = await Promise.all([
      product.layer(layer === "hits" ? "class" : "raw"),
      product.layer("observed"),
    ]);
    return outcomes(product, layer, leadIndex, threshold, forecast, observed);
  }
  const found = await product.layer(names[layer] ?? layer);
  return { integers: product.slice(found.values, leadIndex), step: found.step, missing: found.missing };
}

function outcomes(product, layer, leadIndex, threshold, forecast, observed) {
  const thresholds = product.document.thresholds.map((one) => one.threshold_mm);
  const called = layer === "hits" ? thresholds.indexOf(threshold) + 1 : Math.round(threshold / forecast.step);
  const event = Math.round(threshold / observed.step);
  const seen = product.slice(observed.values, leadIndex);
  const missing = 255;
  const integers = Uint8Array.from(product.slice(forecast.values, leadIndex), (one, cell) => {
    if (one === forecast.missing || seen[cell] === observed.missing) return missing;
    const [yes, came] = [one >= called, seen[cell] >= event];
    return yes ? (came ? 1 : 3) : came ? 2 : 0;
  });
  return { integers, step: 1, missing };
}

// What the explanation that is chosen is of, for sentences about it.
export function whyWords(product) {
  if (!product.explained) return { what: "", lead: "", latitude: "", longitude: "", depth: "" };
  const { explanation, depth } = product.explained;
  const classes = product.document.classes;
  const what = text(CLASSES.keys[classes.indexOf(explanation.class_name)] ?? explanation.class_name);
  const place = { latitude: explanation.latitude.toFixed(2), longitude: explanation.longitude.toFixed(2) };
  return { what, lead: explanation.lead_hours, depth: text(`depth_${depth.replace(" ", "_")}`), ...place };
}

// One value as text: for the readout under the pointer.
export function describe(layer, values, cell) {
  const integer = values.integers[cell];
  if (integer === values.missing) return text("no_value");
  const palette = PALETTES[layer];
  if (palette.keys) return text(palette.keys[integer]);
  if (layer === "rain" || layer === "heavy" || layer === WHY) return percent(integer * values.step);
  const amount = integer * values.step;
  return `${layer === "difference" && amount > 0 ? "+" : ""}${amount.toFixed(1)} mm`;
}

export function percent(probability) {
  const value = 100 * probability;
  return `${value < 10 && value > 0 ? value.toFixed(1) : Math.round(value)} %`;
}

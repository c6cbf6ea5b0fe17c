// One point: its probabilities and its rain at all leads, as a chart and as a table.

import { Plot, key, roundUp } from "./chart.js";
import { percent } from "./layers.js";
import { getDocument } from "./product.js";
import { chosenLanguage, text } from "./texts.js";
import { localClock, localTime, utcClock } from "./times.js";

const NEAR_CELLS = 4;
const SMALLEST_RAIN_MM = 1;

// The service's answer for a position, with the observed rain of the same cell beside each lead.
export async function readPoint(product, latitude, longitude) {
  const { reference_time: cycle, revision } = product.document;
  const answer = await getDocument(`/cycles/${cycle}/product?revision=${revision}&lat=${latitude}&lon=${longitude}`);
  const cell = answer.cell.row * product.document.grid.columns + answer.cell.column;
  let observed = null;
  if (product.document.leads.some((_, index) => product.hasObservation(index))) observed = await product.layer("observed");
  answer.leads.forEach((lead, index) => {
    const integer = observed ? product.slice(observed.values, index)[cell] : null;
    lead.observed_mm = integer === null || integer === observed.missing ? null : integer * observed.step;
  });
  return answer;
}

export function drawPoint(element, product, answer, leadIndex) {
  const thresholds = product.document.thresholds.map((one) => one.threshold_mm);
  element.replaceChildren(heading(product, answer), charts(product, answer, leadIndex, thresholds), table(answer, leadIndex, thresholds));
}

function heading(product, answer) {
  const line = document.createElement("p");
  line.className = "where";
  const { latitude, longitude, row, column } = answer.cell;
  const distance = (place) => Math.hypot(place.column - column, place.row - row);
  const nearest = [...product.map.places].sort((one, other) => distance(one) - distance(other))[0];
  line.textContent = text("cell", { latitude: latitude.toFixed(2), longitude: longitude.toFixed(2) });
  if (nearest && distance(nearest) <= NEAR_CELLS)
    line.textContent += ` (${text("near", { place: nearest[chosenLanguage()] ?? nearest.en })})`;
  return line;
}

function charts(product, answer, leadIndex, thresholds) {
  const box = document.createElement("div");
  const leads = answer.leads.map((lead) => lead.lead_hours);
  const x = [leads[0] - 0.6, leads[leads.length - 1] + 0.6];
  box.append(
    title(text("chart_probability")),
    probabilities(answer, leads, x, leadIndex, product, thresholds),
    key([
      { className: "rain", shape: "circle", label: text("column_rain", { threshold: thresholds[0] }) },
      { className: "heavy", shape: "square", label: text("column_rain", { threshold: thresholds[thresholds.length - 1] }) },
    ]),
    title(text("chart_rain")),
    amounts(answer, leads, x, leadIndex),
    key([
      { className: "raw", shape: "bar", label: text("series_raw") },
      { className: "observed", shape: "diamond", label: text("series_observed") },
    ]),
  );
  return box;
}

function title(words) {
  const line = document.createElement("p");
  line.className = "chart-title";
  line.textContent = words;
  return line;
}

function probabilities(answer, leads, x, leadIndex, product, thresholds) {
  const plot = new Plot({ width: 340, height: 150, x, y: [0, 1], label: text("chart_label"), inset: { left: 34, right: 8, top: 8, bottom: 22 } });
  plot.bar(leads[leadIndex], 1, 0.9, "now");
  plot.yAxis([0, 0.25, 0.5, 0.75, 1].map((value) => [value, String(100 * value)]));
  plot.xAxis(leadTicks(answer));
  const values = (index) => answer.leads.map((lead) => [lead.lead_hours, lead.exceedance_probabilities?.[index].probability ?? null]);
  gaps(plot, answer, 1);
  plot.series(values(0), "rain", "circle", (lead, value) => `+${lead} h: ${percent(value)}`);
  plot.series(values(thresholds.length - 1), "heavy", "square", (lead, value) => `+${lead} h: ${percent(value)}`);
  return plot.root;
}

function amounts(answer, leads, x, leadIndex) {
  const most = Math.max(...answer.leads.flatMap((lead) => [lead.raw_precipitation_mm ?? 0, lead.observed_mm ?? 0]));
  const top = roundUp(most, SMALLEST_RAIN_MM);
  const plot = new Plot({ width: 340, height: 120, x, y: [0, top], label: text("chart_label"), inset: { left: 34, right: 8, top: 8, bottom: 22 } });
  plot.bar(leads[leadIndex], top, 0.9, "now");
  plot.yAxis([0, top / 2, top].map((value) => [value, String(value)]));
  plot.xAxis(leadTicks(answer));
  gaps(plot, answer, top);
  for (const lead of answer.leads)
    if (lead.raw_precipitation_mm !== null) plot.bar(lead.lead_hours, lead.raw_precipitation_mm, 0.5, "raw", `${lead.raw_precipitation_mm.toFixed(1)} mm`);
  plot.series(answer.leads.map((lead) => [lead.lead_hours, lead.observed_mm]), "observed", "diamond", (_, value) => `${value.toFixed(1)} mm`);
  return plot.root;
}

function leadTicks(answer) {
  return answer.leads.map((lead) => [lead.lead_hours, localClock(lead.valid_time)]);
}

// Leads that the cycle lacks.
function gaps(plot, answer, top) {
  for (const lead of answer.leads)
    if (lead.status === "missing") {
      plot.bar(lead.lead_hours, top, 0.9, "gap");
      const [px, py] = [plot.px(lead.lead_hours), plot.py(top / 2)];
      plot.add("text", { x: px, y: py, "text-anchor": "middle" }, text("missing"));
    }
}

function table(answer, leadIndex, thresholds) {
  const element = document.createElement("table");
  element.className = "numbers";
  const head = element.createTHead().insertRow();
  const columns = [
    text("column_lead"),
    text("column_time"),
    ...thresholds.map((threshold) => text("column_rain", { threshold })),
    text("column_raw"),
    text("column_observed"),
  ];
  for (const words of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = words;
    head.append(cell);
  }
  const body = element.createTBody();
  answer.leads.forEach((lead, index) => {
    const row = body.insertRow();
    if (index === leadIndex) row.className = "now";
    const amount = (value) => (value === null ? "–" : `${value.toFixed(1)} mm`);
    const here = lead.status === "missing"
      ? [...thresholds.map(() => text("missing")), "–"]
      : [...lead.exceedance_probabilities.map((one) => percent(one.probability)), amount(lead.raw_precipitation_mm)];
    for (const words of [`+${lead.lead_hours} h`, localClock(lead.valid_time), ...here, amount(lead.observed_mm)]) row.insertCell().textContent = words;
    row.title = `${localTime(lead.valid_time)} · ${utcClock(lead.valid_time)}`;
  });
  return element;
}

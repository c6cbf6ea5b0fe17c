// The scores: the corrected forecast against the one that is not corrected, by lead, by probability, over time.

import { Plot, key, roundUp } from "./chart.js";
import { percent } from "./layers.js";
import { getDocument } from "./product.js";
import { nameSource, text } from "./texts.js";
import { utcDay } from "./times.js";

const SPANS_DAYS = [7, 30, 90];
const DAY_MS = 24 * 3600 * 1000;
const SIZE = { width: 440, height: 270, inset: { left: 50, right: 14, top: 12, bottom: 40 } };
const MOST_DAY_LABELS = 8;

export class Scores {
  // elements: {threshold, span, model, modelChoice, answer}
  constructor(elements) {
    this.elements = elements;
    for (const name of ["threshold", "span", "model"]) elements[name].addEventListener("change", () => this.show());
  }

  // Read anew and draw.
  async show() {
    const { answer, span } = this.elements;
    const history = await getDocument("/verification/history?span_hours=24");
    if (!history.scores.length) {
      answer.replaceChildren(paragraph(text("no_scores")));
      return;
    }
    nameSource(history.scores.find((row) => row.source === "raw")?.model ?? "NWP");
    const last = Math.max(...history.scores.map((row) => Date.parse(row.to)));
    this._offer(history.scores);
    const days = Number(span.value);
    const from = days ? new Date(last - days * DAY_MS).toISOString().slice(0, 19) + "Z" : null;
    const sums = await getDocument(`/verification${from ? `?from=${from}` : ""}`);
    const chosen = (row) => row.threshold_mm === Number(this.elements.threshold.value) && (row.source === "raw" || row.model === this.elements.model.value);
    const rows = sums.scores.filter(chosen);
    const days_rows = history.scores.filter((row) => chosen(row) && (!from || Date.parse(row.from) >= Date.parse(from)));
    answer.replaceChildren(
      panel(text("csi_by_lead"), byLead(rows, "critical_success_index", text("csi")), sourceKey()),
      panel(text("reliability"), reliability(rows), sourceKey(), paragraph(text("reliability_text"))),
      panel(text("csi_by_day"), byDay(days_rows), sourceKey()),
      panel(text("brier_by_lead"), byLead(rows, "brier_score", text("brier")), sourceKey()),
      table(rows, this.elements.threshold.value),
    );
  }

  // What there is to choose from, with the choice kept.
  _offer(rows) {
    const { threshold, span, model, modelChoice } = this.elements;
    const thresholds = [...new Set(rows.map((row) => row.threshold_mm))].sort((one, other) => one - other);
    const models = [...new Set(rows.filter((row) => row.source === "model").map((row) => row.model))];
    options(threshold, thresholds.map((value) => [String(value), `${value} mm`]));
    options(span, [["", text("span_all")], ...SPANS_DAYS.map((days) => [String(days), text("span_days", { days })])]);
    options(model, models.reverse().map((name) => [name, name]));
    modelChoice.hidden = models.length < 2;
  }
}

export function options(select, entries) {
  const before = select.value;
  select.replaceChildren(...entries.map(([value, label]) => new Option(label, value)));
  if (entries.some(([value]) => value === before)) select.value = before;
}

function panel(title, ...content) {
  const section = document.createElement("section");
  const heading = document.createElement("h2");
  heading.textContent = title;
  section.append(heading, ...content);
  return section;
}

function paragraph(words) {
  const element = document.createElement("p");
  element.textContent = words;
  return element;
}

function sourceKey() {
  return key([
    { className: "model", shape: "circle", label: text("source_model") },
    { className: "raw-source", shape: "square", label: text("source_raw") },
  ]);
}

const SOURCES = [["raw", "raw-source", "square"], ["model", "model", "circle"]];

function byLead(rows, score, label) {
  const ofLead = rows.filter((row) => row.lead_hours !== null);
  const leads = [...new Set(ofLead.map((row) => row.lead_hours))].sort((one, other) => one - other);
  const top = roundUp(Math.max(...ofLead.map((row) => row[score] ?? 0)), 0.01);
  const plot = new Plot({ ...SIZE, x: [leads[0] - 0.5, leads[leads.length - 1] + 0.5], y: [0, top], label });
  plot.yAxis(quarters(top), label);
  plot.xAxis(leads.map((lead) => [lead, String(lead)]), text("axis_lead"));
  for (const [source, className, shape] of SOURCES) {
    const points = leads.map((lead) => [lead, ofLead.find((row) => row.source === source && row.lead_hours === lead)?.[score] ?? null]);
    plot.series(points, className, shape, (lead, value) => `+${lead} h: ${value.toFixed(3)}`);
  }
  return plot.root;
}

function byDay(rows) {
  const starts = [...new Set(rows.map((row) => row.from))].sort();
  const times = starts.map((start) => Date.parse(start));
  const top = roundUp(Math.max(...rows.map((row) => row.critical_success_index ?? 0)), 0.01);
  const x = [times[0] - DAY_MS / 2, times[times.length - 1] + DAY_MS / 2];
  const plot = new Plot({ ...SIZE, x, y: [0, top], label: text("csi_by_day") });
  plot.yAxis(quarters(top), text("csi"));
  const every = Math.ceil(starts.length / MOST_DAY_LABELS);
  plot.xAxis(times.filter((_, index) => index % every === 0).map((time) => [time, utcDay(time)]), text("axis_day"));
  for (const [source, className, shape] of SOURCES) {
    // A day without a comparison breaks the line.
    const points = [];
    for (let time = times[0]; time <= times[times.length - 1]; time += DAY_MS) {
      const row = rows.find((one) => one.source === source && Date.parse(one.from) === time);
      points.push([time, row?.critical_success_index ?? null]);
    }
    plot.series(points, className, shape, (time, value) => `${utcDay(time)}: ${value.toFixed(3)}`);
  }
  return plot.root;
}

// The forecast that is not corrected says yes or no: a probability of 1 or 0.
function reliability(rows) {
  const plot = new Plot({ ...SIZE, height: 340, x: [0, 1], y: [0, 1], label: text("reliability") });
  const pooled = rows.filter((row) => row.lead_hours === null);
  const [model, raw] = ["model", "raw"].map((source) => pooled.find((row) => row.source === source));
  const bins = model?.reliability ?? [];
  const all = bins.reduce((sum, bin) => sum + bin.forecasts, 0);
  for (const bin of bins) plot.bar((bin.lower + bin.upper) / 2, bin.forecasts / all, 0.06, "share", percent(bin.forecasts / all));
  plot.yAxis(quarters(1), text("axis_frequency"));
  plot.xAxis([0, 0.2, 0.4, 0.6, 0.8, 1].map((value) => [value, String(value)]), text("axis_probability"));
  plot.add("line", { x1: plot.px(0), y1: plot.py(0), x2: plot.px(1), y2: plot.py(1), class: "diagonal" });
  const title = (x, y) => `${percent(x)} → ${percent(y)}`;
  if (raw) {
    const share = (part, other) => (part + other ? part / (part + other) : null);
    const points = [[0, share(raw.misses, raw.correct_negatives)], [1, share(raw.hits, raw.false_alarms)]];
    plot.series(points, "raw-source", "square", title);
  }
  plot.series(bins.map((bin) => [bin.mean_probability, bin.observed_frequency]), "model", "circle", title);
  return plot.root;
}

function quarters(top) {
  return [0, 0.25, 0.5, 0.75, 1].map((part) => [part * top, String(Number((part * top).toPrecision(3)))]);
}

function table(rows, threshold) {
  const pooled = rows.filter((row) => row.lead_hours === null);
  const scores = [
    [text("csi"), "critical_success_index"],
    [text("pod"), "probability_of_detection"],
    [text("far"), "false_alarm_ratio"],
    [text("bias"), "frequency_bias"],
    [text("brier"), "brier_score"],
    [text("matches"), "matches"],
  ];
  const element = document.createElement("table");
  element.className = "numbers";
  element.createCaption().textContent = text("scores_table", { threshold });
  const head = element.createTHead().insertRow();
  for (const words of [text("score_name"), text("source_model"), text("source_raw")]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = words;
    head.append(cell);
  }
  const body = element.createTBody();
  for (const [label, name] of scores) {
    const row = body.insertRow();
    const cell = document.createElement("th");
    cell.scope = "row";
    cell.textContent = label;
    row.append(cell);
    for (const source of ["model", "raw"]) {
      const value = pooled.find((one) => one.source === source)?.[name] ?? null;
      row.insertCell().textContent = value === null ? "–" : name === "matches" ? String(value) : value.toFixed(3);
    }
  }
  const section = document.createElement("section");
  section.append(element);
  return section;
}

// The page: what is chosen, and what follows from it on the map, in the list of cycles and at the point.

import { readAddress, writeAddress } from "./address.js";
import { drawCycles, drawRevisions, showEntry } from "./cycles.js";
import { LAYERS, WHY, absence, comparesHits, describe, paletteOf, unitOf, valuesOf, whyWords } from "./layers.js";
import { drawLegend } from "./legend.js";
import { listen } from "./live.js";
import { RainMap, Viewport } from "./map.js";
import { drawPoint, readPoint } from "./point.js";
import { Product, getDocument } from "./product.js";
import { Scores, options } from "./scores.js";
import { Session } from "./session.js";
import { chooseLanguage, chosenLanguage, nameSource, text, translate } from "./texts.js";
import { cycleName, localClock, localTime, utcClock } from "./times.js";

const FRAME_MS = 700;
const CYCLES_LIMIT = 40;
const REFRESH_MS = 60_000;
const LANGUAGE_KEY = "rainpost-language";

const at = (id) => document.getElementById(id);
const viewport = new Viewport();
const scores = new Scores({
  threshold: at("scores-threshold"),
  span: at("scores-span"),
  model: at("scores-model"),
  modelChoice: at("scores-model-choice"),
  answer: at("scores"),
});

const session = new Session({
  form: at("sign-in"), key: at("sign-in-key"), problem: at("sign-in-problem"), leave: at("sign-out"),
});

// follow: whether a new revision of a newer cycle takes the place of what is shown.
const state = {
  view: "map", cycles: [], cycle: null, product: null, leadIndex: 0, layer: "rain", beside: "raw",
  threshold: null, point: null, answer: null, follow: true, playing: null, drawing: 0,
};

const figures = [makeFigure(at("first-figure"), () => state.layer), makeFigure(at("second-figure"), () => state.beside)];

// A map with its title, readout, buttons and legend. layerOf: which layer it shows, "" for none.
function makeFigure(root, layerOf) {
  const part = (name, className, parent = root) => {
    const element = document.createElement(name);
    element.className = className;
    parent.append(element);
    return element;
  };
  const caption = part("figcaption", "caption");
  const title = part("strong", "", caption);
  const readout = part("span", "readout", caption);
  const frame = part("div", "frame");
  const canvas = part("canvas", "", frame);
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  const zoom = part("div", "zoom", frame);
  const buttons = [["+", "zoom_in", 1.6], ["−", "zoom_out", 1 / 1.6], ["⤢", "zoom_reset", 0]].map(([label, key, factor]) => {
    const button = part("button", "", zoom);
    button.type = "button";
    button.textContent = label;
    button.dataset.label = key;
    button.addEventListener("click", () => zoomBy(factor));
    return button;
  });
  const legend = part("div", "legend");
  const map = new RainMap(canvas, viewport, { choose: choosePoint, hover: showReadouts });
  return { root, layerOf, title, readout, canvas, map, legend, buttons, values: null };
}

function zoomBy(factor) {
  if (!state.product) return;
  const { rows, columns } = state.product.document.grid;
  if (!factor) viewport.reset();
  else {
    viewport.centre ??= state.point ?? { column: (columns - 1) / 2, row: (rows - 1) / 2 };
    viewport.zoomBy(factor);
  }
}

viewport.listeners.add(() => {
  for (const { canvas } of figures) canvas.classList.toggle("zoomed", viewport.zoom > 1);
});

async function guarded(work) {
  try {
    const result = await work();
    at("problem").hidden = true;
    return result;
  } catch (error) {
    if (error.status === 401) {
      session.ask();
      return undefined;
    }
    at("problem").textContent = text("problem", { detail: error.message });
    at("problem").hidden = false;
    return undefined;
  }
}

// The list of cycles, and the newest one on the map where that is wanted.
async function refreshCycles() {
  const { cycles } = await getDocument(`/cycles?limit=${CYCLES_LIMIT}`);
  state.cycles = cycles;
  showCycles();
}

function showCycles() {
  drawCycles(at("cycles"), state.cycles, state.product?.document.reference_time, (cycle) => {
    state.follow = cycle === newestCycle()?.reference_time;
    guarded(() => showProduct(cycle, null));
  });
}

function newestCycle() {
  return state.cycles.find((cycle) => cycle.revision !== null);
}

// Nothing may be published yet, which is no fault.
async function showNewest() {
  try {
    await showProduct("latest", null);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

async function showProduct(referenceTime, revision) {
  const drawing = ++state.drawing;
  const previousSource = state.product?.document.source;
  const lead = state.product?.document.leads[state.leadIndex].lead_hours ?? Number(state.wantedLead ?? NaN);
  const [product, cycle] = await Promise.all([Product.load(referenceTime, revision, state.product, [state.layer, state.beside]), getDocument(`/cycles/${referenceTime}`)]);
  if (drawing !== state.drawing) return;
  const { reference_time: found } = product.document;
  await product.loadExplanations();
  if (drawing !== state.drawing) return;
  const { explained } = state.product ?? {};
  if (explained) product.explain(explained.explanation.name, explained.depth);
  else product.explain(state.wantedWhy, state.wantedDepth);
  state.product = product;
  // Between two answers another cycle may have become the latest.
  state.cycle = cycle.reference_time === found ? cycle : await getDocument(`/cycles/${found}`);
  if (previousSource !== product.document.source) {
    nameSource(product.document.source);
    showLayerChoice();
  }
  const { leads, thresholds } = product.document;
  state.leadIndex = Math.max(0, leads.findIndex((one) => one.lead_hours === lead));
  if (!leads[state.leadIndex].present) state.leadIndex = Math.max(0, leads.findIndex((one) => one.present));
  const known = thresholds.map((one) => one.threshold_mm);
  if (!known.includes(state.threshold)) state.threshold = known[0];
  for (const { map } of figures) map.setGround(product.document.grid, product.map);
  showFacts();
  await Promise.all([showLayers(), refreshPoint()]);
  // The other leads are in the same bytes; the other layers come while the forecaster looks at these.
  for (const name of ["rain", "heavy", "class", "raw"]) product.prefetch(name);
}

// All that is words: cycles, revisions, leads, training.
function showFacts() {
  showCycles();
  if (!state.product) return;
  const { document: facts } = state.product;
  drawRevisions(at("revision"), at("revision-state"), state.cycle, facts.revision);
  at("notice").hidden = !facts.simulated;
  at("notice").textContent = text("simulated");
  at("training").textContent = text("trained", { model: `${facts.model.name}-${facts.model.version}`, statement: facts.statement });
  options(at("threshold"), facts.thresholds.map(({ threshold_mm: mm }) => [String(mm), `${mm} mm`]));
  at("threshold").value = String(state.threshold);
  showWhy();
  const slider = at("lead");
  slider.max = String(facts.leads.length - 1);
  at("leads").replaceChildren(...facts.leads.map((lead) => {
    const item = document.createElement("li");
    item.className = lead.present ? "" : "missing";
    const hours = document.createElement("b");
    hours.textContent = `+${lead.lead_hours}`;
    item.append(hours, localClock(lead.valid_time));
    return item;
  }));
}

// The explanations of single cells, where there are any.
function showWhy() {
  const { product } = state;
  const { explained, explanations } = product;
  at("why").hidden = explanations.length === 0;
  const labels = explanations.map((explanation) => {
    product.explained = { explanation, depth: explanation.depths[0] };
    return [explanation.name, text("why_cell", whyWords(product))];
  });
  product.explained = explained;
  options(at("why-cell"), [["", text("nothing")], ...labels]);
  at("why-cell").value = explained?.explanation.name ?? "";
  const depths = explained?.explanation.depths ?? [];
  options(at("why-depth"), depths.map((depth) => [depth, text(`depth_${depth.replace(" ", "_")}`)]));
  at("why-depth").value = explained?.depth ?? "";
  at("why-depth").disabled = !explained;
  if (!explained && state.layer === WHY) state.layer = "rain";
}

// Show an explanation: its lead, its cell, and the map of what speaks for its class.
function chooseWhy(name, depth) {
  const { product } = state;
  product.explain(name, depth);
  if (product.explained) {
    const { lead_hours: lead, latitude, longitude } = product.explained.explanation;
    state.leadIndex = product.document.leads.findIndex((one) => one.lead_hours === lead);
    state.layer = WHY;
    choosePosition(latitude.toFixed(4), longitude.toFixed(4));
  }
  showWhy();
  showLayerChoice();
  guarded(showLayers);
}

async function showLayers() {
  const { product, leadIndex } = state;
  if (!product) return;
  showMoment();
  at("threshold-choice").hidden = ![state.layer, state.beside].some(comparesHits);
  await Promise.all(figures.map((figure) => showFigure(figure, product, leadIndex)));
  remember();
}

async function showFigure(figure, product, leadIndex) {
  const layer = figure.layerOf();
  figure.root.hidden = !layer;
  delete figure.canvas.dataset.layer;
  if (!layer) return;
  figure.map.language = chosenLanguage();
  figure.title.textContent = text(layer);
  figure.canvas.setAttribute("aria-label", text("map_of", { layer: text(layer) }));
  drawLegend(figure.legend, layer, unitOf(product, layer, state.threshold));
  const lacking = absence(product, layer, leadIndex);
  const values = lacking ? null : await valuesOf(product, layer, leadIndex, state.threshold);
  // Something else may have been chosen while this came.
  if (product !== state.product || leadIndex !== state.leadIndex || layer !== figure.layerOf()) return;
  figure.values = values;
  figure.map.setValues(values, paletteOf(layer), lacking ? text(lacking) : null);
  figure.canvas.dataset.layer = layer;
  figure.canvas.dataset.lead = String(product.document.leads[leadIndex].lead_hours);
}

function showMoment() {
  const lead = state.product.document.leads[state.leadIndex];
  const slider = at("lead");
  slider.value = String(state.leadIndex);
  const local = localTime(lead.valid_time);
  const words = `${text("lead_moment", { lead: lead.lead_hours })} · ${text("hour_ending", { local })} (${utcClock(lead.valid_time)})`;
  slider.setAttribute("aria-valuetext", words);
  at("moment").textContent = words;
  [...at("leads").children].forEach((item, index) => item.classList.toggle("now", index === state.leadIndex));
}

function showReadouts(cell) {
  for (const figure of figures) {
    if (!cell || !figure.values || figure.root.hidden) figure.readout.textContent = "";
    else {
      const { latitude, longitude } = figure.map.position(cell);
      const value = describe(figure.layerOf(), figure.values, cell.row * state.product.document.grid.columns + cell.column);
      figure.readout.textContent = `${latitude.toFixed(2)}° N ${longitude.toFixed(2)}° E: ${value}`;
    }
  }
}

function chooseLead(index) {
  const count = state.product?.document.leads.length ?? 0;
  if (!count) return;
  state.leadIndex = (index + count) % count;
  guarded(showLayers);
  if (state.answer) drawPoint(at("point-answer"), state.product, state.answer, state.leadIndex);
}

function play(start) {
  clearInterval(state.playing);
  state.playing = start ? setInterval(() => chooseLead(state.leadIndex + 1), FRAME_MS) : null;
  showPlay();
}

function showPlay() {
  const button = at("play");
  button.textContent = state.playing ? "❚❚" : "▶";
  button.setAttribute("aria-label", text(state.playing ? "pause" : "play"));
  button.setAttribute("aria-pressed", String(Boolean(state.playing)));
}

function choosePoint(cell) {
  const { latitude, longitude } = figures[0].map.position(cell);
  choosePosition(latitude.toFixed(4), longitude.toFixed(4));
}

function choosePosition(latitude, longitude) {
  state.position = { latitude, longitude };
  at("latitude").value = latitude;
  at("longitude").value = longitude;
  guarded(refreshPoint);
}

async function refreshPoint() {
  const { position, product } = state;
  if (!position) {
    showHint();
    return;
  }
  const answer = await readPoint(product, position.latitude, position.longitude);
  if (position !== state.position || product !== state.product) return;
  state.answer = answer;
  state.point = { column: answer.cell.column, row: answer.cell.row };
  for (const { map } of figures) map.setMarker(state.point);
  drawPoint(at("point-answer"), product, answer, state.leadIndex);
  remember();
}

function showHint() {
  const hint = document.createElement("p");
  hint.textContent = text("point_hint");
  at("point-answer").replaceChildren(hint);
}

function showLayerChoice() {
  const fieldset = at("layers");
  fieldset.replaceChildren(fieldset.firstElementChild, ...LAYERS.map((layer) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "layer", value: layer, checked: layer === state.layer });
    input.addEventListener("change", () => chooseLayer(layer));
    label.append(input, text(layer));
    return label;
  }));
  options(at("compare"), [["", text("nothing")], ...LAYERS.map((layer) => [layer, text(layer)])]);
  at("compare").value = state.beside;
  showEntry(fieldset, fieldset.querySelector("label:has(:checked)"));
}

function chooseLayer(layer) {
  state.layer = layer;
  for (const input of at("layers").querySelectorAll("input")) input.checked = input.value === layer;
  showEntry(at("layers"), at("layers").querySelector("label:has(:checked)"));
  guarded(showLayers);
}

async function chooseView(view) {
  state.view = view;
  at("map-view").hidden = view !== "map";
  at("scores-view").hidden = view !== "scores";
  at("show-map").setAttribute("aria-pressed", String(view === "map"));
  at("show-scores").setAttribute("aria-pressed", String(view === "scores"));
  remember();
  if (view === "scores") await guarded(() => scores.show());
}

function speak(language) {
  chooseLanguage(language);
  try {
    localStorage.setItem(LANGUAGE_KEY, language);
  } catch {
    // A browser may refuse to keep anything; the address has the language too.
  }
  translate(document);
  const other = language === "en" ? ["ko", "한국어"] : ["en", "English"];
  at("language").lang = other[0];
  at("language").textContent = other[1];
  showLayerChoice();
  showLive(at("live").dataset.state);
  showPlay();
  showFacts();
  guarded(showLayers);
  if (state.answer) drawPoint(at("point-answer"), state.product, state.answer, state.leadIndex);
  else showHint();
  if (state.view === "scores") guarded(() => scores.show());
}

function showLive(name) {
  at("live").dataset.state = name;
  at("live-text").textContent = text(name === "on" ? "live_on" : "live_off");
}

// A line at the top, with a button where there is something to go to.
function tell(words, show) {
  const line = document.createElement("p");
  line.append(words);
  if (show) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text("news_show");
    button.addEventListener("click", () => {
      line.remove();
      show();
    });
    line.append(button);
  }
  at("news").replaceChildren(line);
  setTimeout(() => line.remove(), show ? 600_000 : 10_000);
}

// What was published before the connection stood, or while it was broken.
async function catchUp() {
  await refreshCycles();
  const newest = newestCycle();
  const shown = state.product?.document;
  if (!newest || !state.follow) return;
  if (!shown || newest.reference_time !== shown.reference_time || newest.revision !== shown.revision)
    await showProduct(newest.reference_time, null);
}

async function onPublished({ reference_time: cycle, revision }) {
  await refreshCycles();
  const words = text("news_published", { cycle: cycleName(cycle), revision });
  const show = () => guarded(() => {
    state.follow = cycle === newestCycle()?.reference_time;
    return showProduct(cycle, null);
  });
  if (state.follow && cycle === newestCycle()?.reference_time) {
    await show();
    tell(words);
  } else tell(words, show);
}

async function onObserved({ valid_time: time }) {
  tell(text("news_observed", { local: localTime(time) }));
  if (state.view === "scores") await scores.show();
  const { product } = state;
  if (!product?.document.leads.some((lead) => lead.valid_time === time)) return;
  await showProduct(product.document.reference_time, product.document.revision);
}

function remember() {
  const facts = state.product?.document;
  const newest = facts && facts.reference_time === newestCycle()?.reference_time && facts.revision === newestCycle()?.revision;
  writeAddress({
    view: state.view === "map" ? null : state.view,
    // A link to the newest cycle stays one.
    cycle: !facts || (newest && state.follow) ? null : facts.reference_time,
    revision: !facts || facts.revision === state.cycle.revision ? null : facts.revision,
    lead: facts?.leads[state.leadIndex].lead_hours,
    layer: state.layer,
    why: state.layer === WHY ? state.product?.explained?.explanation.name : null,
    depth: state.layer === WHY ? state.product?.explained?.depth : null,
    beside: state.beside || "none",
    lat: state.position?.latitude,
    lon: state.position?.longitude,
    lang: chosenLanguage(),
  });
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || state.view !== "map") return;
  if (event.target.closest("input, select, textarea, button, summary, a") && !event.target.matches("input[type=range]")) return;
  const onSlider = event.target.matches("input[type=range]");
  const layer = LAYERS[Number(event.key) - 1];
  if (event.key === "ArrowRight" && !onSlider) chooseLead(state.leadIndex + 1);
  else if (event.key === "ArrowLeft" && !onSlider) chooseLead(state.leadIndex - 1);
  else if (event.key === " ") play(!state.playing);
  else if (layer) chooseLayer(layer);
  else if (event.key === "+" || event.key === "=") zoomBy(1.6);
  else if (event.key === "-") zoomBy(1 / 1.6);
  else if (event.key === "0") zoomBy(0);
  else if (event.key === "l" || event.key === "L") at("language").click();
  else return;
  event.preventDefault();
}

function connect() {
  at("show-map").addEventListener("click", () => chooseView("map"));
  at("show-scores").addEventListener("click", () => chooseView("scores"));
  at("language").addEventListener("click", () => speak(chosenLanguage() === "en" ? "ko" : "en"));
  at("play").addEventListener("click", () => play(!state.playing));
  at("lead").addEventListener("input", (event) => chooseLead(Number(event.target.value)));
  at("leads").addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) chooseLead([...at("leads").children].indexOf(item));
  });
  at("compare").addEventListener("change", (event) => {
    state.beside = event.target.value;
    guarded(showLayers);
  });
  at("why-cell").addEventListener("change", (event) => chooseWhy(event.target.value, at("why-depth").value));
  at("why-depth").addEventListener("change", (event) => chooseWhy(at("why-cell").value, event.target.value));
  at("threshold").addEventListener("change", (event) => {
    state.threshold = Number(event.target.value);
    guarded(showLayers);
  });
  at("revision").addEventListener("change", (event) => {
    const revision = Number(event.target.value);
    state.follow = revision === state.cycle.revision && state.follow;
    guarded(() => showProduct(state.product.document.reference_time, revision));
  });
  at("place").addEventListener("submit", (event) => {
    event.preventDefault();
    choosePosition(at("latitude").value.trim(), at("longitude").value.trim());
  });
  document.addEventListener("keydown", press);
}

async function start() {
  const wanted = readAddress();
  state.layer = LAYERS.includes(wanted.layer) || (wanted.layer === WHY && wanted.why) ? wanted.layer : state.layer;
  [state.wantedWhy, state.wantedDepth] = [wanted.why, wanted.depth];
  if (wanted.beside !== undefined) state.beside = LAYERS.includes(wanted.beside) ? wanted.beside : "";
  else if (matchMedia("(max-width: 760px)").matches) state.beside = "";
  state.wantedLead = wanted.lead;
  if (wanted.lat && wanted.lon) state.position = { latitude: wanted.lat, longitude: wanted.lon };
  let kept = null;
  try {
    kept = localStorage.getItem(LANGUAGE_KEY);
  } catch {
    kept = null;
  }
  speak(wanted.lang ?? kept ?? (navigator.language.startsWith("ko") ? "ko" : "en"));
  connect();
  await chooseView(wanted.view === "scores" ? "scores" : "map");
  await guarded(async () => {
    state.follow = !wanted.cycle;
    const shown = wanted.cycle ? showProduct(wanted.cycle, wanted.revision ?? null) : showNewest();
    await Promise.all([refreshCycles(), shown]);
    // Only now is it known whether what is shown is the newest.
    remember();
  });
  if (state.position) {
    at("latitude").value = state.position.latitude;
    at("longitude").value = state.position.longitude;
  }
  document.body.dataset.ready = "true";
  if (session.missing) return;
  listen({
    published: (data) => guarded(() => onPublished(data)),
    observed: (data) => guarded(() => onObserved(data)),
    state: (name) => {
      showLive(name);
      if (name === "on") guarded(catchUp);
    },
  });
  // States such as late come with time alone.
  setInterval(() => guarded(refreshCycles), REFRESH_MS);
}

start();

// What the service says: documents as JSON, layers as arrays of integers.

const JSON_TYPE = "application/json";

// Throws an Error with the service's own sentence when it refuses.
export async function getDocument(path) {
  const answer = await fetch(path, { headers: { Accept: `${JSON_TYPE}, application/problem+json` } });
  const document = await answer.json();
  if (!answer.ok) {
    const words = [document.detail, document.expected].filter(Boolean).join(": ");
    throw Object.assign(new Error(words), { status: answer.status });
  }
  return document;
}

// A revision with the layers that were asked for so far.
export class Product {
  constructor(document) {
    this.document = document;
    this.cells = document.grid.rows * document.grid.columns;
    this._layers = new Map();
    // {step, missing, explanations} of single cells; most often there is none.
    this.explanations = [];
    this.explained = null;
  }

  async loadExplanations() {
    const { reference_time: time, revision, sha256 } = this.document;
    const found = await getDocument(`/cycles/${time}/explanations?revision=${revision}`);
    if (found.sha256 !== sha256) return;
    this.packing = { step: found.step, missing: found.missing };
    this.explanations = found.explanations;
  }

  // Choose what the layer of explanations shows; null for nothing.
  explain(name, depth) {
    const explanation = this.explanations.find((one) => one.name === name);
    const known = explanation && (explanation.depths.includes(depth) ? depth : explanation.depths.at(-1));
    this.explained = explanation ? { explanation, depth: known } : null;
  }

  // {integers, step, missing} of the explanation that is chosen.
  async explanationValues() {
    const { explanation, depth } = this.explained;
    const answer = await fetch(explanation.href);
    if (!answer.ok) throw new Error(`${explanation.href}: ${answer.status}`);
    const values = new Uint8Array(await answer.arrayBuffer());
    return { integers: this.slice(values, explanation.depths.indexOf(depth)), ...this.packing };
  }

  // previous: what was shown before, of which all that is the same is kept. wanted: names of layers to fetch at
  // once, beside the map.
  static async load(referenceTime, revision, previous, wanted) {
    const query = revision ? `?revision=${revision}` : "";
    const product = new Product(await getDocument(`/cycles/${referenceTime}/layers${query}`));
    const { grid, map, sha256 } = product.document;
    if (previous && previous.document.sha256 === sha256)
      for (const [name, layer] of previous._layers) if (name !== "observed") product._layers.set(name, layer);
    for (const name of wanted) product.prefetch(name);
    product.map = previous?.document.grid.digest === grid.digest ? previous.map : await getDocument(map);
    return product;
  }

  // The name that the service has for P(rain) and P(heavy): those of the lowest and the highest threshold.
  get probabilityNames() {
    const names = this.document.layers.filter((layer) => layer.kind === "probability").map((layer) => layer.name);
    return { rain: names[0], heavy: names[names.length - 1] };
  }

  // A promise of {values, step, missing}; values of all leads, one after the other.
  layer(name) {
    if (!this._layers.has(name)) {
      const promise = this._fetch(name);
      promise.catch(() => this._layers.delete(name));
      this._layers.set(name, promise);
    }
    return this._layers.get(name);
  }

  // Begin to fetch a layer of the service, or of the texts; what goes wrong shows when it is asked for.
  prefetch(name) {
    const stored = this.probabilityNames[name] ?? name;
    if (this.document.layers.some((layer) => layer.name === stored)) this.layer(stored).catch(() => {});
  }

  // The part of a layer's values at one lead.
  slice(values, leadIndex) {
    return values.subarray(leadIndex * this.cells, (leadIndex + 1) * this.cells);
  }

  hasObservation(leadIndex) {
    return this.document.leads[leadIndex].observation_revision !== null;
  }

  async _fetch(name) {
    const layer = this.document.layers.find((one) => one.name === name);
    const answer = await fetch(layer.href);
    if (!answer.ok) throw Object.assign(new Error(`${layer.href}: ${answer.status}`), { status: answer.status });
    const bytes = await answer.arrayBuffer();
    const values = layer.storage === "uint8" ? new Uint8Array(bytes) : new Uint16Array(bytes);
    return { values, step: layer.step, missing: layer.missing };
  }
}

// What the service publishes, as it does: /events. The browser itself connects again after a break.

// on: {published(data), observed(data), state("on" or "off")}; "on" also after every break.
export function listen(on) {
  const source = new EventSource("/events");
  source.addEventListener("open", () => on.state("on"));
  source.addEventListener("error", () => on.state("off"));
  for (const kind of ["published", "observed"])
    source.addEventListener(kind, (event) => on[kind](JSON.parse(event.data)));
  // A page that is left must not hold its connection while the browser keeps it for the way back.
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}

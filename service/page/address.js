// What is shown, as the part of the address after #: a link shows another forecaster the same.

export function readAddress() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

// Undefined and null values are left out.
export function writeAddress(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(kept).toString();
  if (text !== location.hash.slice(1)) history.replaceState(null, "", `#${text}`);
}

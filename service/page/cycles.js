// The cycles to choose from, newest first, each with its state in words.

import { text } from "./texts.js";
import { cycleName, localTime } from "./times.js";

const SHOWN = 40;
const MARKS = { published: "●", partial: "◐", late: "!", running: "…", expected: "○", failed: "×" };

export function drawCycles(list, cycles, chosen, choose) {
  if (!cycles.length) {
    const empty = document.createElement("li");
    empty.textContent = text("no_cycles");
    list.replaceChildren(empty);
    return;
  }
  // The year is said where it is not the newest cycle's.
  const year = cycles[0].reference_time.slice(0, 4);
  const name = ({ reference_time: time }) => cycleName(time, { withYear: !time.startsWith(year) });
  // Drawn anew every minute: a button that has the focus keeps it.
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.cycle : null;
  list.replaceChildren(
    ...cycles.slice(0, SHOWN).map((cycle) => entry(cycle, name(cycle), cycle.reference_time === chosen, choose)),
  );
  if (focused) list.querySelector(`[data-cycle="${focused}"]`)?.focus({ preventScroll: true });
  if (list.dataset.chosen !== chosen) showEntry(list, list.querySelector(`[data-cycle="${chosen}"]`));
  list.dataset.chosen = chosen;
}

// Scroll a list so that a button of it is seen; the page stays where it is.
export function showEntry(list, button) {
  if (!button) return;
  const [box, inside] = [list.getBoundingClientRect(), button.getBoundingClientRect()];
  if (inside.left < box.left || inside.right > box.right) list.scrollLeft += inside.left - box.left;
  if (inside.top < box.top || inside.bottom > box.bottom) list.scrollTop += inside.top - box.top;
}

function entry(cycle, name, isChosen, choose) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.title = cycleName(cycle.reference_time);
  button.disabled = cycle.revision === null;
  button.setAttribute("aria-pressed", String(isChosen));
  button.dataset.cycle = cycle.reference_time;
  button.append(words("name", name), state(cycle), words("detail", detail(cycle)));
  button.addEventListener("click", () => choose(cycle.reference_time));
  item.append(button);
  return item;
}

function state(cycle) {
  const badge = words("state", text(`state_${cycle.state}`));
  badge.dataset.state = cycle.state;
  const mark = words("mark", MARKS[cycle.state]);
  mark.setAttribute("aria-hidden", "true");
  badge.prepend(mark);
  return badge;
}

function detail(cycle) {
  if (cycle.revision === null) return "";
  const { present, expected } = cycle.leads;
  const parts = cycle.revision > 1 ? [text("revision_short", cycle)] : [];
  if (present.length < expected.length) parts.push(text("leads_of", { present: present.length, expected: expected.length }));
  return parts.join(", ");
}

function words(className, content) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = content;
  return element;
}

// cycle: its document. shown: the revision on the map.
export function drawRevisions(select, note, cycle, shown) {
  const newest = cycle.revisions[cycle.revisions.length - 1];
  select.replaceChildren(
    ...[...cycle.revisions].reverse().map(({ revision }) => {
      const words = revision === newest.revision ? text("revision_newest", { revision }) : String(revision);
      return new Option(words, String(revision), false, revision === shown);
    }),
  );
  const revision = cycle.revisions.find((one) => one.revision === shown);
  const missing = cycle.leads.expected.filter((lead) => !revision.leads_hours.includes(lead));
  const sentences = [text("revision_state", { created: localTime(revision.created), delay: delay(revision.delay_seconds) })];
  if (missing.length) sentences.push(text("missing_leads", { leads: missing.map((lead) => `+${lead} h`).join(", ") }));
  if (cycle.deadline && new Date(revision.created) > new Date(cycle.deadline))
    sentences.push(text("deadline_missed", { deadline: localTime(cycle.deadline) }));
  if (shown !== newest.revision) sentences.push(text("revision_old"));
  note.textContent = sentences.join(" ");
  note.className = missing.length || shown !== newest.revision ? "warning" : "";
}

function delay(seconds) {
  const hours = seconds / 3600;
  return hours < 100 ? text("hours", { count: hours.toFixed(1) }) : text("days", { count: Math.round(hours / 24) });
}

// Signing in, where reading needs a key. The key goes into a cookie that no script can read.

import { text } from "./texts.js";

const SIGNED_IN_KEY = "rainpost-signed-in";

// A browser may refuse to keep anything; the button to sign out is then not shown.
function remembered(change) {
  try {
    if (change === true) localStorage.setItem(SIGNED_IN_KEY, "true");
    if (change === false) localStorage.removeItem(SIGNED_IN_KEY);
    return localStorage.getItem(SIGNED_IN_KEY) === "true";
  } catch {
    return false;
  }
}

export class Session {
  // parts: {form, key, problem, leave}, elements of the page.
  constructor(parts) {
    this.parts = parts;
    this.missing = false;
    parts.leave.hidden = !remembered();
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this._begin(parts.key.value.trim());
    });
    parts.leave.addEventListener("click", () => this._end());
  }

  // Ask for a key, in place of everything else.
  ask() {
    if (this.missing) return;
    this.missing = true;
    remembered(false);
    this.parts.leave.hidden = true;
    document.body.dataset.session = "missing";
    this.parts.key.focus();
  }

  async _begin(key) {
    let answer = null;
    try {
      answer = await fetch("/session", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ key }),
      });
    } catch {
      this._refuse("sign_in_failed");
      return;
    }
    if (answer.ok) {
      remembered(true);
      location.reload();
    } else this._refuse({ 400: "sign_in_wrong", 401: "sign_in_wrong", 429: "sign_in_wait" }[answer.status] ?? "sign_in_failed");
  }

  _refuse(key) {
    const { problem, key: field } = this.parts;
    problem.dataset.text = key;
    problem.textContent = text(key);
    problem.hidden = false;
    field.setAttribute("aria-invalid", "true");
    field.select();
  }

  async _end() {
    await fetch("/session", { method: "DELETE" });
    remembered(false);
    location.reload();
  }
}

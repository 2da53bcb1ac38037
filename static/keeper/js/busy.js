// A button whose form is under way says so in words once that takes 200 ms: "Save" becomes "Saving…".
const AFTER = 200;
// Verbs that double their last letter; those in -e lose it.
const DOUBLED = /^(run|set|stop|skip|cut|plan|get|submit|begin|map|drop|put|log|forget)$/;
const NO_VERBS = /^(ok|yes|no|all|new|i|next|back|key|dry|one|not)$/;
const shown = new WeakMap();

export function busyWords(label) {
  const verb = /^[A-Za-z]+/.exec(label.trim())?.[0] ?? "";
  if (verb.length < 2 || NO_VERBS.test(verb.toLowerCase())) return "Working…";
  if (/^sign (in|out)/i.test(label.trim())) return `Signing ${label.trim().split(/\s+/)[1]}…`;
  if (DOUBLED.test(verb.toLowerCase())) return `${verb}${verb.at(-1)}ing…`;
  return `${/[^eoy]e$/.test(verb) ? verb.slice(0, -1) : verb}ing…`;
}

function say(button) {
  if (button.getAttribute("aria-busy") !== "true" || !button.isConnected) return;
  // A question is open: nothing is under way yet.
  if (document.querySelector("dialog[open]") && !button.closest("dialog")) return later(button);
  const text = button.textContent.trim();
  // An icon alone has no room for words, and its line says it.
  if (!text || button.querySelector(".visually-hidden") || shown.has(button)) return;
  shown.set(button, { nodes: [...button.childNodes], width: button.style.minWidth });
  button.style.minWidth = `${button.offsetWidth}px`;
  button.replaceChildren(busyWords(text));
}

const later = (button) => setTimeout(say, AFTER, button);

export function showButtonBusy(button) {
  button.setAttribute("aria-busy", "true");
  later(button);
}

export function showButtonIdle(button) {
  button.removeAttribute("aria-busy");
  const before = shown.get(button);
  if (!before) return;
  shown.delete(button);
  button.style.minWidth = before.width;
  button.replaceChildren(...before.nodes);
}

// The pages of sign-in load this alone; the others ask their questions first (submit.js).
if (document.body.matches(".plain")) {
  document.addEventListener("submit", ({ target, submitter }) => {
    const button = submitter || target.querySelector("[type=submit]");
    if (button && !button.hasAttribute("aria-busy")) showButtonBusy(button);
  });
  addEventListener("pageshow", () => document.querySelectorAll("[aria-busy]").forEach(showButtonIdle));
}

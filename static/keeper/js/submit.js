// What stands between a form and its being sent: its question, other forms that would be lost, the session.
import { showButtonBusy, showButtonIdle } from "./busy.js";
import { askForForm } from "./confirm.js";
import { mayLeaveFor, leavesUnsaved, settle } from "./unsaved.js";
import { say } from "./say.js";
import { isPerson, ensureSession } from "./session.js";

const passed = new WeakSet();
// The last submission of each form: one that is pressed again while it waits takes the place of the first.
const latest = new WeakMap();

const navigates = (form) => !form.hasAttribute("hx-post") && !form.hasAttribute("hx-get");
const isPost = (form) => form.getAttribute("method")?.toLowerCase() === "post";

function guardsOf(form) {
  if (form.closest("dialog")) return [];
  const guards = [];
  if (form.dataset.confirm) guards.push(askForForm);
  // It fetches a value within the click, which is all that some browsers allow, and looks at the session itself.
  if (form.matches("[data-copy-secret]")) return guards;
  if (navigates(form) && leavesUnsaved(form)) guards.push(mayLeaveFor);
  if (isPost(form) && isPerson() && !form.matches("[data-ends-session]")) guards.push(ensureSession);
  return guards;
}

// Shows by its button, and in words, that a form is under way; both wait 200 ms.
// A file that is downloaded leaves the page as it is, and says nothing when it is there.
function showBusy(form, submitter) {
  if (!isPost(form) || form.closest("dialog") || form.matches("[data-downloads]") || !document.body.matches(".app")) return;
  const button = submitter || form.querySelector("[type=submit]");
  if (button) showButtonBusy(button);
}

export function showIdle(form) {
  for (const button of form.querySelectorAll("[aria-busy]")) showButtonIdle(button);
  for (const button of document.querySelectorAll(`[form="${form.id}"][aria-busy]`)) if (form.id) showButtonIdle(button);
}

async function send(form, submitter, guards) {
  const mine = {};
  latest.set(form, mine);
  for (const guard of guards) {
    const passes = await guard(form);
    if (latest.get(form) !== mine) return;
    if (!passes) return showIdle(form);
  }
  // A part of the page that renews itself has taken the form with it while a question was open.
  if (!form.isConnected) return say("This part of the page was replaced while it waited. Nothing was sent; do it again.");
  if (navigates(form)) settle(form);
  passed.add(form);
  form.requestSubmit(submitter?.form === form ? submitter : null);
  passed.delete(form);
}

// Capturing, so that htmx does not see the submission before it may be sent.
document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (passed.has(form)) return;
    showBusy(form, event.submitter);
    const guards = guardsOf(form);
    if (!guards.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    send(form, event.submitter, guards);
  },
  true,
);

// A button may send on its own, without a form.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.matches("button")) showButtonBusy(event.target);
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.target.matches("form")) showIdle(event.target);
  if (event.target.matches("button")) showButtonIdle(event.target);
});
// A page that Back brings up again, or that stopped loading, is under way no more.
addEventListener("pageshow", () => [...document.forms].forEach(showIdle));

// What stands between a form and its being sent: its question, other forms that would be lost, the session.
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

async function send(form, submitter, guards) {
  const mine = {};
  latest.set(form, mine);
  for (const guard of guards) if (!(await guard(form)) || latest.get(form) !== mine) return;
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
    const guards = guardsOf(form);
    if (!guards.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    send(form, event.submitter, guards);
  },
  true,
);

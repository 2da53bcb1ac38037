// Asks before a form that was filled in is left without being sent. Filters and searches are not kept.
import { ask } from "./confirm.js";

const KEPT = "main form[method=post]:not([data-select], [data-discardable], #changelist-form)";
// What holds nothing that was entered to be saved; browsers fill in a password without being asked.
const IGNORED = "[type=hidden], button, fieldset, output, [data-must-equal], [autocomplete=current-password]";
// Links of the admin that open a window of their own.
const OPENS_BESIDE = ".related-widget-wrapper-link, .related-lookup";

const touched = new WeakSet();
const settled = new WeakSet();

const plain = (text) => text.replace(/\r\n?/g, "\n");

function differs(field) {
  if (field.matches(IGNORED)) return false;
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.type === "file") return field.files.length > 0;
  if (field.tagName !== "SELECT") return plain(field.value) !== plain(field.defaultValue);
  const options = [...field.options];
  const preset = options.some((option) => option.defaultSelected);
  return options.some((option, at) => option.selected !== (preset || field.multiple ? option.defaultSelected : at === 0));
}

// Whether it holds anything: after a refusal, passwords are empty again.
const holds = (field) => !field.matches(IGNORED) && (field.tagName === "SELECT" || field.value !== "");

function isUnsaved(form) {
  if (settled.has(form)) return false;
  // The server showed the form again instead of saving it.
  const isShownAgain = form.matches("[data-unsaved]") || form.querySelector("[data-unsaved], .field-error, .errornote");
  if (isShownAgain && [...form.elements].some(holds)) return true;
  return touched.has(form) && [...form.elements].some(differs);
}

const unsaved = () => [...document.querySelectorAll(KEPT)].filter(isUnsaved);

export const settle = (form) => settled.add(form);

function askToLeave(forms) {
  const asked = ask({
    title: "Leave without saving?",
    text: "What you entered on this page was not saved. It is lost if you leave.",
    go: "Leave",
    stay: "Stay",
    danger: true,
    careful: true,
  });
  return asked.then((leaves) => {
    if (leaves) forms.forEach(settle);
    return leaves;
  });
}

// Returns whether a form may be sent, which leaves the other forms of the page.
export function mayLeaveFor(form) {
  const others = unsaved().filter((each) => each !== form);
  return !others.length || askToLeave(others);
}
export const leavesUnsaved = (form) => unsaved().some((each) => each !== form);

function note(event) {
  const form = event.target.form;
  if (!form) return;
  touched.add(form);
  settled.delete(form);
}
document.addEventListener("input", note, true);
document.addEventListener("change", note, true);

addEventListener("beforeunload", (event) => {
  if (unsaved().length) event.preventDefault();
});

document.addEventListener(
  "click",
  (event) => {
    const link = event.target.closest?.("a[href]");
    const elsewhere = event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!link || elsewhere || (link.target && link.target !== "_self") || link.matches(OPENS_BESIDE)) return;
    if (link.getAttribute("href").startsWith("#")) return;
    // It is the answer to what was entered in its form.
    if (link.matches("form [data-leave]")) settle(link.closest("form"));
    const forms = unsaved();
    if (!forms.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    askToLeave(forms).then((leaves) => {
      if (leaves) location.href = link.href;
    });
  },
  true,
);

// A part of the page that is replaced takes its forms with it.
document.addEventListener("htmx:confirm", (event) => {
  const { elt, target, triggeringEvent, issueRequest } = event.detail;
  const lost = unsaved().filter((form) => target?.contains(form) && !form.contains(elt));
  if (!lost.length) return;
  event.preventDefault();
  // Without an event it is a part that renews itself: it waits.
  if (triggeringEvent) askToLeave(lost).then((leaves) => leaves && issueRequest(true));
});

document.addEventListener("htmx:afterSettle", () => {
  for (const saved of document.querySelectorAll("form [data-saved]")) settle(saved.closest("form"));
});

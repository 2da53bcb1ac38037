// What is pasted where a new secret is written: several variables are offered to the import, which takes the text
// over in the body of its request; a certificate, a key or a JSON document sets the type.
import { settle } from "./unsaved.js";

const ASSIGNMENT = /^\s*(?:export\s+)?[A-Za-z_][\w./-]*\s*=/;
const BY_CONTENT = [
  [/^\s*-----BEGIN (?:CERTIFICATE|(?:[A-Z]+ )?PRIVATE KEY-----[^-]*-----END (?:[A-Z]+ )?PRIVATE KEY-----\s*-----BEGIN CERTIFICATE)-----/, "CERTIFICATE", "a certificate"],
  [/^\s*(?:-----BEGIN OPENSSH PRIVATE KEY-----|(?:ssh|ecdsa)-[a-z0-9-]+ AAAA)/, "SSH_KEY", "an SSH key"],
];

// Returns how many variables a text sets, or 0 if it does not begin with one.
function countVariables(text) {
  const lines = text.split("\n").filter((line) => line.trim() && !line.trim().startsWith("#"));
  return ASSIGNMENT.test(lines[0] || "") ? lines.filter((line) => ASSIGNMENT.test(line)).length : 0;
}

function isDocument(text) {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    return Boolean(JSON.parse(text));
  } catch {
    return false;
  }
}

function typeOf(text) {
  for (const [pattern, type, words] of BY_CONTENT) if (pattern.test(text)) return { type, words };
  return isDocument(text) ? { type: "JSON", words: "a JSON document" } : null;
}

function suggest(form, text) {
  const note = form.querySelector("[data-pasted]");
  const button = note.querySelector("[data-import-pasted]");
  const count = countVariables(text);
  const found = count > 1 ? null : typeOf(text);
  const select = form.elements.secret_type;
  const sets = found && !(select && form.dataset.typeChosen);
  if (sets && select && select.value !== found.type) {
    select.value = found.type;
    const chosen = new Event("change", { bubbles: true });
    chosen.isSuggested = true;
    select.dispatchEvent(chosen);
  }
  // The last thing that is pasted alone has words: what is typed on gets none.
  note.hidden = count < 2 && !sets;
  button.hidden = count < 2;
  note.querySelector("[data-pasted-words]").textContent = count > 1 ? `This looks like ${count} variables.` : sets ? `This looks like ${found.words}, and gets that type.` : "";
  button.textContent = `Import them as ${count} secrets`;
}

function carryOver(form) {
  const target = document.getElementById("import-pasted");
  const value = form.querySelector("[data-paste-value]");
  target.elements.text.value = value.value;
  target.elements.environment.value = form.elements.environment.value;
  // It goes on to the import, and is not lost with this form.
  settle(form);
  target.requestSubmit();
}

const formOf = (event) => event.target.closest?.("form[data-takes-paste]");

document.addEventListener("input", (event) => {
  const form = event.target.matches("[data-paste-value]") && formOf(event);
  if (form) suggest(form, event.target.value);
});

// A person who chose a type keeps it.
document.addEventListener("change", (event) => {
  const form = !event.isSuggested && event.target.name === "secret_type" && formOf(event);
  if (form) form.dataset.typeChosen = "yes";
});

// The field of the name has one line: a file that is pasted there would lose its lines.
document.addEventListener("paste", (event) => {
  const form = event.target.matches?.("[data-paste-name]") && formOf(event);
  const text = event.clipboardData?.getData("text/plain").replace(/\r\n?/g, "\n") || "";
  if (!form || !text.trim().includes("\n") || countVariables(text) < 2) return;
  event.preventDefault();
  const value = form.querySelector("[data-paste-value]");
  value.value = text;
  value.dispatchEvent(new Event("input", { bubbles: true }));
});

document.addEventListener("click", (event) => {
  const form = event.target.closest?.("[data-import-pasted]") && formOf(event);
  if (form) carryOver(form);
});

// The row above a list: Enter saves, Shift+Enter begins a line, and what was saved makes room for the next.
document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.("#add-value") || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});

document.addEventListener("secret-added", () => {
  const row = document.getElementById("add-row");
  if (!row) return;
  row.reset();
  row.querySelector("[data-pasted]").hidden = true;
  settle(row);
  row.elements.name.focus();
});

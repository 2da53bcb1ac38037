// Puts values on the clipboard, and nowhere else.
import { say, sentenceIn } from "./say.js";
import { showIdle } from "./submit.js";
import { requireSession, SessionEnded, signInAgain } from "./session.js";

// A copied value leaves the clipboard again, where the browser lets a page write there: only while it
// has the focus. Copying something else on this page ends the wait.
const CLEAR_AFTER = 45;
let clearing = null;

function clearLater() {
  clearTimeout(clearing);
  removeEventListener("focus", clear);
  clearing = setTimeout(clear, CLEAR_AFTER * 1000);
}

async function clear() {
  if (!document.hasFocus()) {
    addEventListener("focus", clear, { once: true });
    return;
  }
  try {
    await navigator.clipboard.writeText("");
    say("Clipboard cleared.");
  } catch {
    say("Your browser blocked clearing the clipboard. Copy something else to replace the value.");
  }
}

document.addEventListener("copy", () => {
  clearTimeout(clearing);
  removeEventListener("focus", clear);
});

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    clearLater();
    say(`Copied. Clipboard clears in ${CLEAR_AFTER} s.`);
  } catch {
    say("Your browser blocked copying. Select the text and copy it.");
  }
}

// What holds no value stays on the clipboard.
async function copyPlain(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("Your browser blocked copying. Select the text and copy it.");
  }
}

// The server gave no value, and said why.
class Refused extends Error {}

async function fetchValue(form) {
  const answer = await fetch(form.action, {
    method: "POST",
    body: new FormData(form),
    headers: { Accept: "text/plain", "X-Requested-With": "fetch" },
    cache: "no-store",
    redirect: "error",
  });
  if (answer.status === 401) throw new SessionEnded();
  const kind = answer.headers.get("Content-Type") || "";
  if (!answer.ok) throw new Refused(sentenceIn(await answer.text()));
  if (!kind.startsWith("text/plain")) throw new Error(kind);
  return answer.text();
}

// The value is asked for, and its reading recorded, only when the button is pressed. Safari wants the
// clipboard to be claimed within the click, so the answer is handed over as a promise.
async function copySecret(form) {
  const value = requireSession().then(() => fetchValue(form));
  value.then(() => showIdle(form), () => showIdle(form));
  try {
    if (window.ClipboardItem && navigator.clipboard.write) {
      const item = value.then((text) => new Blob([text], { type: "text/plain" }));
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": item })]);
    } else {
      await navigator.clipboard.writeText(await value);
    }
    clearLater();
    say(`Copied. Clipboard clears in ${CLEAR_AFTER} s.`);
  } catch {
    const refused = await value.then(() => null, (error) => error);
    if (refused instanceof SessionEnded) signInAgain(refused.state);
    else if (refused instanceof Refused && refused.message) say(refused.message);
    else say(refused ? "Couldn't copy. Reload and try again." : "Your browser blocked copying. Reveal the value and copy it.");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-copy-secret]");
  if (!form) return;
  event.preventDefault();
  // A form for one field, or for a row of a list, is not about the value that is in view.
  const whole = !form.elements.field && !form.matches("#row-copy");
  const revealed = whole && document.querySelector("#value [data-value]");
  if (revealed) copyText(revealed.textContent).then(() => showIdle(form));
  else copySecret(form);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy-text], [data-copy-value], [data-copy-generated], [data-copy-snippet]");
  if (!button) return;
  if (button.matches("[data-copy-snippet]")) return copyPlain(button.parentElement.querySelector("code").textContent);
  const source = button.matches("[data-copy-text]")
    ? button.parentElement.querySelector("code")
    : document.querySelector(button.matches("[data-copy-generated]") ? "[data-generated-value]" : "[data-value]");
  if (source) copyText(source.textContent);
});

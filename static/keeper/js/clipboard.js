// Puts values on the clipboard, and nowhere else.
import { say } from "./say.js";

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser did not allow copying. Select the text and copy it by hand.");
  }
}

// The value is asked for, and its reading recorded, only when the button is pressed. Safari wants the
// clipboard to be claimed within the click, so the answer is handed over as a promise.
async function copySecret(form) {
  const value = fetch(form.action, {
    method: "POST",
    body: new FormData(form),
    headers: { Accept: "text/plain", "X-Requested-With": "fetch" },
    cache: "no-store",
    redirect: "error",
  }).then((answer) => {
    const kind = answer.headers.get("Content-Type") || "";
    if (!answer.ok || !kind.startsWith("text/plain")) throw new Error(String(answer.status));
    return answer.text();
  });
  try {
    if (window.ClipboardItem && navigator.clipboard.write) {
      const item = value.then((text) => new Blob([text], { type: "text/plain" }));
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": item })]);
    } else {
      await navigator.clipboard.writeText(await value);
    }
    say("Copied. The reading is on record.");
  } catch {
    const refused = await value.then(() => false, () => true);
    say(refused ? "Keeper did not hand out the value. Reload the page to see why." : "The browser did not allow copying. Reveal the value and copy it by hand.");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-copy-secret]");
  if (!form) return;
  event.preventDefault();
  const revealed = document.querySelector("#value [data-value]");
  if (revealed) copyText(revealed.textContent);
  else copySecret(form);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy-text], [data-copy-value], [data-copy-generated]");
  if (!button) return;
  const source = button.matches("[data-copy-text]")
    ? button.parentElement.querySelector("code")
    : document.querySelector(button.matches("[data-copy-generated]") ? "[data-generated-value]" : "[data-value]");
  if (source) copyText(source.textContent);
});

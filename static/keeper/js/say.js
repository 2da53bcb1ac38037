// Tells a person what happened: on screen for a moment, and to assistive technology.

const SHOWN_FOR = 3500;

export function say(words) {
  document.getElementById("announcer").textContent = words;
  const note = document.createElement("div");
  note.className = "toast-note";
  note.textContent = words;
  document.getElementById("toasts").replaceChildren(note);
  setTimeout(() => note.remove(), SHOWN_FOR);
}

// The problem page says what happened; its sentence is shown where the person is.
export function sentenceIn(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  return page.querySelector("[data-problem-detail]")?.textContent.trim() || "";
}

// Says at once that an expiry lies in the past, in the zone in which the form takes times.

const timeZone = document.documentElement.dataset.timeZone || "UTC";
// Swedish writes a time as the field does, but for the space.
const local = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone });

function warn(input) {
  const line = document.getElementById(input.dataset.warnPast);
  if (line) line.hidden = !input.value || input.value > local.format(new Date()).replace(" ", "T");
}

for (const input of document.querySelectorAll("[data-warn-past]")) {
  input.addEventListener("input", () => warn(input));
  warn(input);
}

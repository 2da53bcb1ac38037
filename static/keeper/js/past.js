// Says at once that an expiry lies in the past, in UTC as the field is.

function warn(input) {
  const line = document.getElementById(input.dataset.warnPast);
  const moment = Date.parse(`${input.value}Z`);
  if (line) line.hidden = Number.isNaN(moment) || moment > Date.now();
}

for (const input of document.querySelectorAll("[data-warn-past]")) {
  input.addEventListener("input", () => warn(input));
  warn(input);
}

// What the pages add when JavaScript is there. Each module listens on the document, so that
// parts swapped in by htmx need no wiring of their own.
import "./clipboard.js";
import "./filters.js";
import "./import.js";
import "./many.js";
import "./menus.js";
import "./palette.js";
import "./past.js";
import "./pasted.js";
import "./picker.js";
import "./reveal.js";
import "./search.js";
import "./shortcuts.js";
import "./shown_when.js";
import "./staged.js";
import "./submit.js";
import "./tabs.js";
import "./times.js";
import "./tokens.js";
import "./value_form.js";

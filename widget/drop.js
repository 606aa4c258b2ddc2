/** Shows that files which are dragged over the panel can be dropped there. Loaded with the first that are. */
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

const STYLE = `
.panel[data-drop] { outline: 2px dashed; outline-offset: -10px }
.panel[data-drop] > * { opacity: 0 }
.panel[data-drop]::after { content: attr(data-drop); position: absolute; inset: 10px; display: grid; place-items: center; padding: 20px; font-size: 17px; font-weight: 650; text-align: center; pointer-events: none }
`;

teach({
  drop: "Drop your files here",
});

/** @param {Chat.Room} room @param {string} type the event's @param {EventTarget | null} other where they come from or go to */
export function mark({ host, parts: { panel } }, type, other) {
  wear(host.shadow, STYLE);
  const over = type !== "drop" && (type !== "dragleave" || panel.contains(/** @type {Node | null} */ (other)));
  if (over && !panel.querySelector(".consent")) panel.setAttribute("data-drop", say("drop"));
  else panel.removeAttribute("data-drop");
}

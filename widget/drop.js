/** Shows that files which are dragged over the panel can be dropped there. Loaded with the first that are. */
import { wear } from "./style.js";

const STYLE = `
.panel[data-drop] { outline: 2px dashed; outline-offset: -10px }
.panel[data-drop] > * { opacity: .3 }
`;

/** @param {Chat.Room} room @param {string} type the event's @param {EventTarget | null} other where they come from or go to */
export function mark({ host, parts: { panel } }, type, other) {
  wear(host.shadow, STYLE);
  const over = type !== "drop" && (type !== "dragleave" || panel.contains(/** @type {Node | null} */ (other)));
  panel.toggleAttribute("data-drop", over && !panel.querySelector(".consent"));
}

/** Counts what is written, where it comes near the end. Loaded then. */
import { element } from "./nodes.js";
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

/** Seconds without a key after which the number is read out. */
const REST = 1;

const STYLE = `
.count { padding: 6px 14px 0; color: var(--soft); font-size: 12.5px }
.count[data-over] { color: var(--alarm) }
.count + [role=status] { position: absolute; clip-path: inset(50%) }
`;

teach({
  characters: "{n} of {most} characters",
  shorten: "Please shorten your message.",
});

/** Makes what tells the visitor, given how much is written. @param {ShadowRoot} shadow @param {HTMLElement} form */
export function counter(shadow, form, most = 0) {
  const count = element("div", { class: "count", "aria-hidden": "true" });
  const told = element("div", { role: "status" });
  let resting = 0;
  wear(shadow, STYLE);
  form.append(count, told);
  return (length = 0) => {
    const full = say("characters", { n: length, most });
    const near = length >= most * 0.9;
    count.hidden = !near;
    count.toggleAttribute("data-over", length > most);
    count.textContent = length > most ? `${full}. ${say("shorten")}` : full;
    clearTimeout(resting);
    resting = setTimeout(() => (told.textContent = near ? count.textContent : ""), REST * 1000);
  };
}

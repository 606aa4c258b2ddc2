/** Counts what is written, where it comes near the end. Loaded then. */
import { element } from "./nodes.js";
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

const STYLE = `
.count { padding: 6px 14px 0; color: var(--soft); font-size: 12.5px }
.count[data-over] { color: var(--alarm) }
`;

teach({
  characters: "{n} of {most} characters",
  shorten: "Please shorten your message.",
});

/** Makes what tells the visitor, given how much is written. @param {ShadowRoot} shadow @param {HTMLElement} form */
export function counter(shadow, form, most = 0) {
  const count = element("div", { class: "count", role: "status" });
  wear(shadow, STYLE);
  form.append(count);
  return (length = 0) => {
    const full = say("characters", { n: length, most });
    count.hidden = length < most * 0.9;
    count.toggleAttribute("data-over", length > most);
    count.textContent = length > most ? `${full}. ${say("shorten")}` : full;
  };
}

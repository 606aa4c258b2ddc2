/** Shows who is typing. Loaded with the first who does. */
import { element } from "./nodes.js";
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

/** Seconds after which typing is over. */
const ENDS = 6;

const STYLE = `
.dots { display: flex; gap: 4px; padding: 10px 12px; border-radius: 14px; background: var(--raised) }
.dots i { inline-size: 6px; block-size: 6px; border-radius: 50%; background: var(--soft); animation: dot 1.2s infinite }
.dots i:nth-child(2) { animation-delay: .15s }
.dots i:nth-child(3) { animation-delay: .3s }
@keyframes dot { 0%, 60%, 100% { opacity: .5 } 30% { transform: translateY(-3px) } }
`;

teach({
  typing: "{name} is typing",
  somebody: "Somebody",
});

let ending = 0;

/** Shows that somebody types, or that nobody does any more. @param {Chat.Room} room @param {{from: Chat.Author, on: boolean}} frame */
export function show({ host, parts: { status }, tell }, { from, on }) {
  const end = () => status.querySelector(".dots") && tell(); // what else is told there stays
  clearTimeout(ending);
  if (!on) return end();
  wear(host.shadow, STYLE);
  tell(say("typing", { name: from.name || say("somebody") }));
  if (!status.querySelector(".dots")) status.prepend(element("span", { class: "dots" }, element("i"), element("i"), element("i")));
  ending = setTimeout(end, ENDS * 1000);
}

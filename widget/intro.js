/** What only some sites show before the first message: team, logo, quick questions, and what a visitor has to agree to. */
import { avatar } from "./log.js";
import { element, link } from "./nodes.js";
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

const STYLE = `
.panel .logo { inline-size: auto; max-inline-size: 150px; block-size: 36px; object-fit: contain }
.panel :is(.team, .questions) { display: flex; justify-content: center; margin: 0; padding: 0; list-style: none }
.panel .team { margin-block-end: 18px }
.team li + li { margin-inline-start: -12px }
.intro .team .avatar { margin: 0; inline-size: 60px; block-size: 60px; border: 3px solid var(--ground); box-shadow: none; font-size: 20px }
.team .avatar img { background: var(--ground) }
.panel .questions { flex-wrap: wrap; gap: 8px; padding-block-start: 24px }
.scroller[data-begun] .questions { display: none }
.panel .question {
  min-block-size: 40px; padding: 8px 16px; border-radius: 20px; background: var(--raised); font-size: 15px; font-weight: 500; line-height: 1.35;
  text-align: center; text-wrap: balance; transition: background .2s, color .2s; animation: rise .28s cubic-bezier(.16, 1, .3, 1)
}
@media (hover) { .panel .question:hover { background: var(--accent); color: var(--on) } }
.consent { padding: 14px 18px calc(16px + var(--safe, 0px)); border-block-start: 1px solid var(--line); outline: none; font-size: 14px }
.consent p { margin: 0 0 14px; max-block-size: 40vh; overflow-y: auto; text-wrap: pretty; white-space: pre-line }
.consent a { color: inherit; font-weight: 600; text-underline-offset: 2px }
.panel .agree { inline-size: 100%; min-block-size: 44px; padding: 10px 16px; border-radius: 22px; background: var(--accent); color: var(--on); box-shadow: inset 0 0 0 1px #8883; font-size: 15px; font-weight: 650 }
.panel .agree:active { scale: .98 }
@media (pointer: coarse) { .panel .question { min-block-size: 44px; border-radius: 22px } }
@media (forced-colors: active) { .panel :is(.question, .agree), .team .avatar { border: 1px solid } }
`;

teach({
  team: "Who answers here",
  questions: "Frequent questions",
  privacy: "Privacy policy",
  agree: "Agree and start",
});

/**
 * Draws them into a panel that shows the rest already.
 * @param {Chat.Host} host @param {Record<"panel" | "heading" | "intro", HTMLElement>} parts
 * @param {{quick: boolean, agree?: () => void, send: (text: string) => void}} can `agree` where the visitor has to
 */
export function introduce(host, { panel, heading, intro }, { quick, agree, send }) {
  const { logo, team, questions, consent = "", privacy } = host.site.look ?? {};
  const at = (address = "") => {
    try {
      return address && new URL(address, host.origin).href;
    } catch {
      return ""; // no address; `URL.canParse` is younger than browsers that the widget works in
    }
  };
  wear(host.shadow, STYLE);
  if (agree) panel.append(ask(consent, privacy, agree));
  if (logo) show(at(logo), heading);
  const people = listed(team).map(({ name, picture }) => member(name, at(picture)));
  if (people.length) intro.firstElementChild?.replaceWith(element("ul", { class: "team", "aria-label": say("team") }, ...people));
  const buttons = quick && !agree ? listed(questions).map((text) => question(text, send)) : [];
  if (buttons.length) intro.append(element("ul", { class: "questions", "aria-label": say("questions") }, ...buttons));
}

/** A list, which in a tag's attribute is JSON. @template Item @param {Item[] | string} [given] @returns {Item[]} */
function listed(given = []) {
  try {
    const list = typeof given === "string" ? JSON.parse(given) : given;
    if (Array.isArray(list)) return list;
  } catch {} // told below
  console.warn("Threadbridge: this is no list:", given);
  return [];
}

/** Puts a picture in the place of the letter, once it is there. @param {string} address @param {HTMLElement} heading */
function show(address, heading) {
  const letter = heading.firstElementChild;
  const image = element("img", { class: "logo", src: address, alt: "" });
  image.onload = () => letter?.replaceWith(image);
}

function member(name = "", picture = "") {
  const face = avatar(name, picture);
  face.removeAttribute("aria-hidden");
  face.role = "img";
  face.ariaLabel = face.title = name;
  return element("li", {}, face);
}

/** @param {string} text @param {(text: string) => void} send */
function question(text, send) {
  const button = element("button", { part: "question", dir: "auto" }, text);
  button.onclick = () => send(text);
  return element("li", {}, button);
}

/** @param {string} text @param {string | undefined} privacy @param {() => void} agree */
function ask(text, privacy, agree) {
  const terms = element("p", { id: "terms", dir: "auto" }, text, ...(privacy ? [" ", link(privacy, say("privacy"))] : []));
  const button = element("button", { part: "agree" }, say("agree"));
  button.onclick = agree;
  return element("div", { part: "consent", role: "group", tabindex: "-1", "aria-labelledby": "terms" }, terms, button);
}

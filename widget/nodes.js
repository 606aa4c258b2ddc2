/** Makes nodes: elements, icons, and what people wrote. Text goes in as text; no markup is ever parsed. */
import { sizeOf } from "./texts.js";

/** What ends an address may be a bracket that was opened in it. No part can begin anew within itself: that takes long texts far longer. */
const ADDRESS =
  /https?:\/\/[^\s<>"]*(?:[^\s<>"'.,;:!?()[\]{}*_~`]|(?<=:\/\/\S*[([][^\s()[\]]*)[)\]])|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g;
const FILE = "M6 3h8l5 5v13H6zm8 0v5h5";
/** What browsers show, and what holds no script. */
export const PICTURE = /^image\/(png|jpeg|gif|webp|avif)$/;
const ESCAPE = /\\([!-/:-@[-`{-~])/g;
const FENCE = /^`{3,}$/;
const QUOTE = /^> ?/;
const ITEM = /^(?:-|(\d{1,9})\.) (?=.)/;
/** Code (2), emphasis of one to three stars (4), a link's label (5) and address (6), or an escape (7). */
const STYLED =
  /(`+)(?!`)(.+?)(?<!`)\1(?!`)|(\*{1,3})((?:\\.|`[^`]*`|[^*\\`])+)\3|\[((?:\\.|[^\\\]]|\](?!\())+)\]\(((?:https?:|mailto:|tel:)(?:\\.|[^\s()\\])+)\)|\\([!-/:-@[-`{-~])/gi;

/**
 * A `part` is also the element's class.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  if (attributes.part) made.className = attributes.part;
  made.append(...children);
  return made;
}

/** A line drawing in 24 by 24 units: made as the loader's are. @type {Chat.Host["icon"]} */
export let icon;

/** @param {Chat.Host} host whose way of drawing it is */
export function drawLike(host) {
  ({ icon } = host);
}

/** @param {string} href @param {(Node | string)[]} label */
export function link(href, ...label) {
  return element("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...label);
}

/** A file's sign, and its name and size. @param {{name: string, size: number}} file */
export function card({ name, size }) {
  return [icon(FILE), element("span", {}, element("bdi", {}, name), element("small", {}, sizeOf(size)))];
}

/** A picture; in its place, where it is gone or refused by the page's policy, something else. @param {string} src @param {string} alt @param {Node[]} instead */
export function picture(src, alt, ...instead) {
  const shown = element("img", { src, alt });
  shown.onerror = () => {
    shown.parentElement?.classList.remove("pictured");
    shown.replaceWith(...instead);
  };
  return shown;
}

/** A player, where the browser plays it and the page's policy allows it. @param {string} src @param {{name: string, type: string}} file @returns {Node[]} */
export function sound(src, { name, type }) {
  if (!/^audio/.test(type)) return [];
  const player = element("audio", { src, controls: "", preload: "none", "aria-label": name });
  player.onerror = () => player.remove();
  return player.canPlayType(type) ? [player] : [];
}

/** A visitor's text as it is, with its addresses as links. @param {string} text */
export function literal(text) {
  const nodes = [];
  let end = 0;
  for (const { 0: address, index } of text.matchAll(ADDRESS)) {
    nodes.push(text.slice(end, index), link(address.includes("://") ? address : "mailto:" + address, address));
    end = index + address.length;
  }
  return [...nodes, text.slice(end)];
}

/** The staff's text, in the Markdown that the gateway writes. @param {string[]} lines @returns {(Node | string)[]} */
export function markdown(lines) {
  const nodes = [];
  for (let at = 0; at < lines.length; ) {
    const from = at;
    const kind = [FENCE, QUOTE, ITEM].find((start) => start.test(lines[from]));
    const belongs = (/** @type {string} */ line) => (kind === FENCE ? line !== lines[from] : kind?.test(line));
    do at++;
    while (kind && at < lines.length && belongs(lines[at]));
    const bodies = lines.slice(from, at).map((line) => (kind ? line.replace(kind, "") : line));
    if (kind === FENCE) nodes.push(element("pre", {}, lines.slice(from + 1, at++).join("\n")));
    else if (kind === QUOTE) nodes.push(element("blockquote", {}, ...markdown(bodies)));
    else if (kind) {
      const start = ITEM.exec(lines[from])?.[1];
      const items = bodies.map((body) => element("li", {}, ...inline(body)));
      nodes.push(start ? element("ol", { start }, ...items) : element("ul", {}, ...items));
    } else nodes.push(element("p", {}, ...inline(bodies[0])));
  }
  return nodes;
}

/** @param {string} text @param {(text: string) => (Node | string)[]} read @returns {(Node | string)[]} */
function inline(text, read = literal) {
  const nodes = [];
  let plain = ""; // collected over escapes, so that an address with one in it is seen whole
  let end = 0;
  for (const match of text.matchAll(STYLED)) {
    const [all, , code, stars, stressed, label, address, escaped = ""] = match;
    plain += text.slice(end, match.index) + escaped;
    end = match.index + all.length;
    if (escaped) continue;
    nodes.push(...read(plain));
    plain = "";
    if (code) nodes.push(element("code", {}, code.replace(/^ (.*[^ ].*) $/, "$1")));
    else if (stars) nodes.push(stress(stars.length, inline(stressed, read)));
    else nodes.push(link(address.replace(ESCAPE, "$1"), ...inline(label, (text) => [text])));
  }
  return [...nodes, ...read(plain + text.slice(end))];
}

/** @param {number} stars @param {(Node | string)[]} nodes */
function stress(stars, nodes) {
  return element(stars > 1 ? "strong" : "em", {}, ...(stars < 3 ? nodes : [element("em", {}, ...nodes)]));
}

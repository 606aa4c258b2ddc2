/** Shows text: a visitor's as it stands, with links alone; a colleague's with its marks. */

import { make } from "./dom.js";

/** @typedef {[kind: string, start: number, end: number, value: string]} Mark on code points */
/** @typedef {{ text: string, marks: Mark[] }} Rich */

const ADDRESS = /\bhttps?:\/\/[^\s<>"]+/giu;
const SAFE = new Set(["http:", "https:", "mailto:"]);
const BLOCKS = new Set(["pre", "quote", "item"]);
const VERBATIM = new Set(["pre", "code", "link"]);
/** @type {Record<string, "strong" | "em" | "code" | "pre" | "blockquote">} */
const ELEMENTS = { bold: "strong", italic: "em", code: "code", pre: "pre", quote: "blockquote" };

/**
 * @param {string} address
 * @param {string} [text]
 */
export function link(address, text = "") {
  let url;
  try {
    url = new URL(address);
  } catch {
    return make("span", "", text || address);
  }
  if (!SAFE.has(url.protocol)) return make("span", "", text || address);
  const anchor = make("a", "", text);
  anchor.href = url.href;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer nofollow";
  return anchor;
}

/** @param {string} text */
export function literal(text) {
  const shown = document.createDocumentFragment();
  let from = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const address = withoutPunctuation(found[0]);
    shown.append(text.slice(from, found.index), link(address, address));
    from = found.index + address.length;
  }
  shown.append(text.slice(from));
  return shown;
}

/**
 * @param {string} address with what a sentence puts behind it
 * @returns {string}
 */
function withoutPunctuation(address) {
  const bare = address.replace(/[.,;:!?'…»”]+$/u, "");
  return bare.endsWith(")") && !bare.includes("(") ? withoutPunctuation(bare.slice(0, -1)) : bare;
}

/** @param {Rich} source */
export function rich(source) {
  const points = Array.from(source.text);
  const marks = source.marks.filter(([, start, end]) => start < end).sort(outerFirst);
  const edges = [...new Set([0, points.length, ...marks.flatMap(([, start, end]) => [start, end])])].sort((a, b) => a - b);
  const shown = document.createDocumentFragment();
  /** @type {{ mark: Mark, element: HTMLElement }[]} */
  const open = [];
  edges.slice(0, -1).forEach((start, index) => {
    const end = edges[index + 1] ?? start;
    const active = marks.filter((mark) => mark[1] <= start && end <= mark[2]);
    const kept = open.findIndex(({ mark }, depth) => mark !== active[depth]);
    const closed = kept < 0 ? [] : open.splice(kept);
    for (const mark of active.slice(open.length)) {
      const element = elementOf(mark);
      holder(open.at(-1)?.element ?? shown, mark).append(element);
      open.push({ mark, element });
    }
    let words = points.slice(start, end).join("");
    // A block ends its line by itself: the line break behind it would show as an empty line.
    if (closed.some(({ mark }) => BLOCKS.has(mark[0]))) words = words.replace(/^\n/, "");
    if (words) (open.at(-1)?.element ?? shown).append(active.some(([kind]) => VERBATIM.has(kind)) ? words : literal(words));
  });
  return shown;
}

/**
 * @param {Mark} a
 * @param {Mark} b
 */
function outerFirst(a, b) {
  return Number(BLOCKS.has(b[0])) - Number(BLOCKS.has(a[0])) || a[1] - b[1] || b[2] - a[2];
}

/** @param {Mark} mark */
function elementOf([kind, , , value]) {
  if (kind === "link") return link(value);
  if (kind !== "item") return make(ELEMENTS[kind] ?? "span");
  const item = make("li");
  if (value) item.value = Number(value);
  return item;
}

/**
 * Returns what takes a mark's element: items that follow each other share a list.
 *
 * @param {HTMLElement | DocumentFragment} parent
 * @param {Mark} mark
 */
function holder(parent, [kind, , , value]) {
  if (kind !== "item") return parent;
  const tag = value ? "ol" : "ul";
  const last = parent.lastChild;
  if (last instanceof HTMLElement && last.localName === tag) return last;
  const list = make(tag);
  parent.append(list);
  return list;
}

/** What people read of a message, as plain text. Loaded where a message leaves the widget. */

const BLOCKS = ["p", "ul", "ol", "blockquote", "pre"];

/** @param {Iterable<Node | string>} nodes as `literal` and `markdown` make them */
export function plain(nodes) {
  return Array.from(nodes, (node) => read(node) + (BLOCKS.includes(tag(node)) ? "\n" : "")).join("").trimEnd();
}

/** @param {Node | string} node */
function tag(node) {
  return node instanceof Element ? node.localName : "";
}

/** @param {Node | string} node @returns {string} */
function read(node) {
  if (!(node instanceof Element)) return typeof node === "string" ? node : (node.textContent ?? "");
  const inner = Array.from(node.childNodes, read);
  const text = inner.join("");
  const first = Number(node.getAttribute("start"));
  switch (node.localName) {
    case "a": {
      const address = (node.getAttribute("href") ?? "").replace(/^(mailto|tel):/, "");
      return text === address ? text : `${text} (${address})`;
    }
    case "ul":
      return inner.map((item) => `- ${item}`).join("\n");
    case "ol":
      return inner.map((item, at) => `${first + at}. ${item}`).join("\n");
    case "blockquote":
      return plain(node.childNodes).replace(/^/gm, "> ");
    default:
      return text;
  }
}

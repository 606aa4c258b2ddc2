/** Shows the conversation's pictures large, one after the other. Loaded with the first that is opened. */
import { element, icon } from "./nodes.js";
import { save } from "./save.js";
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

const CLOSE = "M6 6l12 12m0-12L6 18";
const DOWNLOAD = "M12 4v11m-5-5l5 5 5-5M5 20h14";
const PREVIOUS = "M15 5l-7 7 7 7";
const NEXT = "M9 5l7 7-7 7";

const STYLE = `
.viewer { box-sizing: border-box; inset: 0; inline-size: 100%; max-inline-size: none; block-size: 100dvh; max-block-size: none; margin: 0; border: 0; padding: env(safe-area-inset-top) env(safe-area-inset-right) env(safe-area-inset-bottom) env(safe-area-inset-left); overflow: hidden; background: #0e0f12f2; color: #f4f5f7; -webkit-backdrop-filter: blur(16px); backdrop-filter: blur(16px); animation: dim .2s }
.viewer[open] { display: grid; grid-template: auto minmax(0, 1fr) / minmax(0, 1fr) }
.viewer::backdrop { background: none }
.viewer button { display: grid; flex: none; place-items: center; inline-size: 44px; block-size: 44px; margin: 0; padding: 0; border: 0; border-radius: 50%; background: #0e0f1299; color: inherit; cursor: pointer }
@media (hover) { .viewer button:hover { background: #3a3c42 } }
.viewer :focus-visible { outline: 2px solid; outline-offset: -2px }
.viewer svg { inline-size: 22px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round }
.viewer .bar { display: flex; align-items: center; gap: 4px; padding: 8px 12px 8px 20px }
.viewer .caption { flex: 1; min-inline-size: 0; line-height: 1.3 }
.viewer :is(strong, small) { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.viewer strong { font-weight: 600 }
.viewer small { color: #b9bdc6; font-size: 12.5px }
.viewer figure { display: grid; place-items: center; min-block-size: 0; margin: 0; padding: 4px 20px 20px }
.viewer img { max-inline-size: 100%; max-block-size: 100%; min-block-size: 0; border-radius: 6px; object-fit: contain; animation: dim .2s }
.viewer .step { position: absolute; inset-block-start: calc(50% - 6px); inset-inline-start: 12px; box-shadow: 0 0 0 1px #fff3 }
.viewer .next { inset-inline: auto 12px }
[dir=rtl] .viewer .step svg { scale: -1 1 }
@keyframes dim { from { opacity: 0 } }
@media (forced-colors: active) { .viewer, .viewer :is(button, small) { background: Canvas; color: CanvasText } .viewer button { border: 1px solid } }
`;

teach({
  picture: "Picture {n} of {all}",
  previous: "Previous picture",
  next: "Next picture",
  back: "Back to the chat",
  download: "Download",
});

/** Opens the picture of a link in the log. @param {Chat.Room} room @param {HTMLAnchorElement} link */
export function view({ host: { shadow, root }, parts: { log } }, link) {
  if (shadow.querySelector("dialog")) return; // asked for twice while this was loading
  const links = [...log.querySelectorAll("a")].filter((one) => one.querySelector("img"));
  const name = element("bdi");
  const place = element("small", { role: "status" });
  const download = button("download", DOWNLOAD, () => save(link.href, name.textContent ?? ""));
  const close = button("back", CLOSE, () => dialog.close());
  const figure = element("figure");
  const dialog = element("dialog", { part: "viewer" }, element("div", { class: "bar" }, element("div", { class: "caption" }, element("strong", {}, name), place), download, close), figure);

  const show = (by = 0) => {
    link = links.at((links.indexOf(link) + by) % links.length) ?? link;
    const { alt } = /** @type {HTMLImageElement} */ (link.querySelector("img"));
    name.textContent = dialog.ariaLabel = alt;
    place.textContent = links.length > 1 ? say("picture", { n: links.indexOf(link) + 1, all: links.length }) : "";
    figure.replaceChildren(element("img", { src: link.href, alt }));
  };
  if (links.length > 1) {
    const [before, after] = [button("previous", PREVIOUS, () => show(-1)), button("next", NEXT, () => show(1))];
    before.className = "step";
    after.className = "step next";
    dialog.append(before, after);
  }
  dialog.onkeydown = (event) => {
    event.stopPropagation(); // Escape means the picture, not the panel
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    if (by) show(root.dir === "rtl" ? -by : by);
  };
  dialog.onclick = ({ target }) => (target === dialog || target === figure) && dialog.close();
  // A modal dialog must not outlast what it belongs to: the page would be out of reach.
  const gone = new MutationObserver(() => {
    if (!link.isConnected || root.hidden || !root.classList.contains("open")) dialog.close();
  });
  gone.observe(log, { childList: true, subtree: true });
  gone.observe(root, { attributeFilter: ["class", "hidden"] });
  dialog.onclose = () => {
    gone.disconnect();
    dialog.remove();
    link.focus();
  };
  wear(shadow, STYLE);
  root.append(dialog);
  dialog.showModal();
  show();
  close.focus();
}

/** @param {string} label @param {string} path @param {() => void} act */
function button(label, path, act) {
  const made = element("button", { type: "button", "aria-label": say(label) }, icon(path));
  made.onclick = act;
  return made;
}

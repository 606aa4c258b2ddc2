/** Copies a message: by a button beside the one that is pointed at, tapped or focused, or by a key. Loaded with the first of these. */
import { element, icon } from "./nodes.js";
import { plain } from "./plain.js";
import { renew } from "./renew.js";
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

const COPY = "M9 9h11v11H9zM5 15H4V4h11v1";
const DONE = "M5 13l4 4L19 7";
/** Seconds for which it is told. */
const TOLD = 2;
/** Where the focus goes from a message among all that are shown, by the key. @type {Record<string, (at: number, all: number) => number>} */
const STEPS = { ArrowUp: (at) => at - 1, ArrowDown: (at) => at + 1, Home: () => 0, End: (_, all) => all - 1 };

const STYLE = `
.scroller { position: relative }
.message:focus-visible { border-radius: 16px }
.panel .copy {
  position: absolute; left: var(--left); top: var(--top); z-index: 1; inline-size: 36px; block-size: 36px; border-radius: 50%;
  background: var(--ground); color: var(--soft); box-shadow: 0 0 0 1px var(--line), 0 2px 8px #0002; animation: rise .16s;
}
.copy[data-done] { color: inherit }
@media (hover) { .panel .copy:hover { color: inherit } }
.copy svg { inline-size: 17px }
@media (pointer: coarse) { .panel .copy { inline-size: 44px; block-size: 44px } }
@media (forced-colors: active) { .panel .copy { border: 1px solid } }
`;

teach({
  copy: "Copy message",
  copied: "Copied",
});

/** Follows the visitor from message to message. @param {Chat.Room} room @param {EventTarget | null} [first] where this began */
export function follow(room, first) {
  const { host, parts: { scroller, log, status }, tell } = room;
  if (scroller.querySelector(".copy")) return; // what was pointed at was focused too
  // Beside the log, not in it: what is added there is read out
  const button = element("button", { part: "copy", type: "button", "aria-label": say("copy"), hidden: "" }, icon(COPY));
  /** @type {HTMLElement | null} */
  let current = null;
  let told = 0;

  const place = () => {
    const bubble = current?.isConnected && bubbleOf(current);
    button.hidden = !bubble;
    if (!bubble) return;
    const { left, right, top, height } = bubble.getBoundingClientRect();
    const frame = scroller.getBoundingClientRect();
    const size = button.offsetWidth;
    const before = (current?.dataset.kind === "visitor") === (host.root.dir === "ltr");
    const beside = before ? Math.max(left - size - 6, frame.left + 4) : Math.min(right + 6, frame.left + scroller.clientWidth - size - 4);
    button.style.setProperty("--left", `${beside - frame.left}px`);
    button.style.setProperty("--top", `${top + Math.min(height, 60) / 2 - size / 2 - frame.top + scroller.scrollTop}px`);
  };
  const choose = (/** @type {EventTarget | null | undefined} */ target) => {
    const message = target instanceof Element ? target.closest(".message") : null;
    if (!(message instanceof HTMLElement) || message === current) return;
    current = message;
    show(COPY);
    place();
  };
  const show = (path = "") => {
    button.replaceChildren(icon(path));
    button.toggleAttribute("data-done", path === DONE);
  };
  const leave = () => {
    if (button.matches(":focus") || log.contains(host.shadow.activeElement)) return;
    current = null;
    place();
  };
  const copy = async () => {
    if (!current || !bubbleOf(current)) return;
    await keep(textOf(current), scroller);
    show(DONE);
    tell(say("copied"));
    clearTimeout(told);
    told = setTimeout(() => {
      show(COPY);
      if (status.textContent === say("copied")) tell();
    }, TOLD * 1000);
  };

  wear(host.shadow, STYLE);
  renew(room);
  scroller.append(button);
  button.onclick = copy;
  log.onpointerover = ({ target }) => choose(target);
  scroller.onpointerleave = ({ pointerType }) => pointerType === "mouse" && leave();
  scroller.addEventListener("focusout", () => setTimeout(leave));
  log.addEventListener("focusin", ({ target }) => {
    choose(target);
    if (target === current && current) name(current);
  });
  log.onkeydown = (event) => {
    const { key, target, ctrlKey, metaKey, altKey } = event;
    if (!(target instanceof HTMLElement) || !target.matches(".message") || ctrlKey || metaKey || altKey) return;
    const all = /** @type {HTMLElement[]} */ ([...log.querySelectorAll(".message")]);
    const to = all[STEPS[key]?.(all.indexOf(target), all.length)];
    if (to) for (const one of all) one.tabIndex = one === to ? 0 : -1;
    to?.focus();
    if (key === "Enter" || key.toLowerCase() === "c") copy();
    else if (!to) return;
    event.preventDefault();
  };
  const moved = new ResizeObserver(place);
  moved.observe(log);
  moved.observe(scroller);
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const labelled = /** @type {Element} */ (target).closest(".message[aria-label]");
      if (labelled) name(/** @type {HTMLElement} */ (labelled)); // staff edited or deleted it
    }
    place();
  }).observe(log, { childList: true, subtree: true });
  choose(first);
  if (first === current && current) name(current);
}

/** Says what a message is to whom it is focused for. @param {HTMLElement} message */
function name(message) {
  const [author, time] = [".name", "time"].map((part) => message.querySelector(part)?.textContent);
  message.role = "group";
  message.ariaLabel = [author, textOf(message), time].filter(Boolean).join(", ");
  message.setAttribute("aria-keyshortcuts", "C");
}

/** Where the text of a message that can be copied stands. @param {Element} message @returns {HTMLElement | null} */
function bubbleOf(message) {
  return message.matches("[data-kind=system], [data-deleted]") ? null : message.querySelector(".text:not([hidden])");
}

/** @param {Element} message */
function textOf(message) {
  return plain(message.querySelector(".text > div")?.childNodes ?? []);
}

/** Puts a text on the clipboard, also where a page without TLS has none. @param {string} text @param {HTMLElement} place */
async function keep(text, place) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const { activeElement } = /** @type {ShadowRoot} */ (place.getRootNode());
    const field = element("textarea", { readonly: "", "aria-hidden": "true" }, text);
    const give = (/** @type {ClipboardEvent} */ event) => {
      event.preventDefault();
      event.clipboardData?.setData("text/plain", text);
    };
    place.append(field); // some browsers copy only where something is selected
    field.select();
    document.addEventListener("copy", give, true);
    document.execCommand("copy");
    document.removeEventListener("copy", give, true);
    field.remove();
    if (activeElement instanceof HTMLElement) activeElement.focus({ preventScroll: true });
  }
}

/** The menu in the panel's head: what is not needed in each conversation. Loaded when it is first opened. */
import { element, icon } from "./nodes.js";
import { wear } from "./style.js";
import { say, teach } from "./texts.js";

const TICK = "M5 13l4 4L19 7";
const SAVE = "M12 4v11m-5-5l5 5 5-5M5 20h14";

const STYLE = `
.menu { position: absolute; inset-block-start: 62px; inset-inline-end: 12px; z-index: 3; min-inline-size: 200px; max-inline-size: calc(100% - 24px); padding: 6px; border-radius: 16px; background: var(--ground); box-shadow: var(--shade); animation: rise .16s }
.panel .menu button { grid-template-columns: 20px 1fr; justify-items: start; gap: 12px; inline-size: 100%; min-block-size: 40px; padding: 6px 16px 6px 10px; border-radius: 11px; text-align: start }
.menu button:focus { background: var(--raised) }
@media (hover) { .menu button:hover { background: var(--raised) } }
.panel .menu button:focus-visible { outline-offset: -2px }
.menu svg { grid-column: 1 }
.menu span { grid-column: 2 }
[aria-checked=false] svg { visibility: hidden }
@media (pointer: coarse) { .panel .menu button { min-block-size: 44px } }
@media (forced-colors: active) { .menu { border: 1px solid } .panel .menu button:is(:hover, :focus) { outline: 2px solid; outline-offset: -2px } }
`;

teach({
  transcript: "Download the conversation",
  sound: "Sound for new messages",
});

/** What it holds, drawn anew each time; what the site does not want is left out. @type {((room: Chat.Room) => Chat.MenuItem | false)[]} */
const ITEMS = [
  (room) => ({
    label: say("transcript"),
    sign: SAVE,
    act: () => import("./transcript.js").then(({ download }) => download(room), () => room.tell(say("offline"))),
  }),
  ({ host, connection }) =>
    String(host.site.look?.sound) !== "false" && {
      label: say("sound"),
      checked: !connection.quiet,
      act: () => (connection.quiet = !connection.quiet),
    },
];
/** Where the focus goes, by the key. @type {Record<string, (at: number, all: number) => number>} */
const STEPS = {
  ArrowDown: (at, all) => (at + 1) % all,
  ArrowUp: (at, all) => (at + all - 1) % all,
  Home: () => 0,
  End: (_, all) => all - 1,
};
/** Closes the one that is open. @type {(() => void) | undefined} */
let close;

/** Opens or closes it. @param {Chat.Room} room */
export function toggle(room) {
  const { host, parts } = room;
  const { panel, more } = parts;
  more.onclick = () => toggle(room); // at once from now on: a key right behind it is meant for what is open
  const open = panel.querySelector(".menu");
  close?.(); // perhaps one of a panel that was replaced meanwhile
  if (open) return;
  const items = ITEMS.flatMap((item) => item(room) || []).map(draw);
  const menu = element("div", { class: "menu", role: "menu", "aria-label": say("more") }, ...items);
  const outside = new AbortController();
  close = () => {
    close = undefined;
    outside.abort();
    more.ariaExpanded = "false";
    if (menu.contains(host.shadow.activeElement)) more.focus();
    menu.remove();
  };
  const left = (/** @type {EventTarget | null} */ to) => to && ![more, menu].some((one) => one.contains(/** @type {Node} */ (to)));
  document.addEventListener("pointerdown", (event) => left(event.composedPath()[0]) && close?.(), { signal: outside.signal });
  menu.addEventListener("focusout", ({ relatedTarget }) => left(relatedTarget) && close?.());
  menu.addEventListener("click", () => close?.(), { capture: true });
  menu.onkeydown = (event) => {
    event.stopPropagation(); // Escape means the menu, not the panel
    const to = STEPS[event.key]?.(items.indexOf(/** @type {HTMLButtonElement} */ (event.target)), items.length);
    if (to !== undefined) {
      event.preventDefault();
      items[to].focus();
    } else if (event.key === "Escape" || event.key === "Tab") close?.();
  };
  wear(host.shadow, STYLE);
  panel.append(menu);
  more.ariaExpanded = "true";
  items[0].focus();
}

/** @param {Chat.MenuItem} item */
function draw({ label, sign = TICK, checked, act }) {
  const role = checked === undefined ? "menuitem" : "menuitemcheckbox";
  const button = element("button", { type: "button", tabindex: "-1", role }, icon(sign), element("span", {}, label));
  if (checked !== undefined) button.ariaChecked = String(checked);
  button.onclick = act;
  return button;
}

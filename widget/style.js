/** The panel's sheet. `--accent` and `--on` come from the loader, all other colours from the theme. */

const LIGHT = `
  color-scheme: light; --ground: #fff; --raised: #f0f1f4; --ink: #14161a; --soft: #5b616e; --line: #0a0f1e1f; --alarm: #b3132f;
  --shade: 0 0 0 1px #0a0f1e12, 0 4px 12px #0a0f1e12, 0 24px 64px -8px #0a0f1e40;`;
const DARK = `
  color-scheme: dark; --ground: #191b1f; --raised: #2b2d33; --ink: #f1f2f4; --soft: #a9afba; --line: #ffffff1f; --alarm: #ff8c9b;
  --shade: 0 0 0 1px #ffffff1f, 0 24px 64px -8px #000a;`;

export const STYLE = `
.root {${LIGHT} font: 15px/1.45 system-ui, sans-serif; -webkit-text-size-adjust: 100% }
.root[data-theme=dark] {${DARK} }
@media (prefers-color-scheme: dark) { .root[data-theme=auto] {${DARK} } }

.badge {
  position: absolute; inset-block-start: -3px; inset-inline-end: -3px; min-inline-size: 22px; padding: 0 6px;
  border-radius: 11px; background: #c81e3a; color: #fff; font: 600 12px/22px system-ui, sans-serif;
  box-shadow: 0 0 0 2px #fff; animation: arrive .3s cubic-bezier(.2, .9, .3, 1.4);
}
.badge, .panel, .panel * { box-sizing: border-box }
.panel [hidden] { display: none }
.panel {
  --beside: min(var(--side), 100vw - 416px); --below: calc(min(var(--bottom) + 74px, max(94px, 100dvh - 440px)) + env(safe-area-inset-bottom));
  position: fixed; z-index: var(--layer); inset-block-end: var(--below); right: var(--beside);
  inline-size: 396px; block-size: min(680px, 100dvh - 24px - var(--below));
  display: flex; flex-direction: column; overflow: hidden; overflow-wrap: anywhere;
  border-radius: 20px; background: var(--ground); box-shadow: var(--shade); color: var(--ink);
  opacity: 0; visibility: hidden; transform: translateY(16px) scale(.97); transform-origin: 100% 100%;
  transition: opacity .16s, transform .2s, visibility 0s .2s;
}
.bare .panel { --below: min(var(--bottom), max(20px, 100dvh - 440px)) }
.open .launcher { z-index: calc(var(--layer) + 1) }
.left .panel { right: auto; left: var(--beside); transform-origin: 0 100% }
.open .panel { opacity: 1; visibility: visible; transform: none; transition: opacity .18s, transform .32s cubic-bezier(.16, 1, .3, 1) }
.panel :is(button, textarea) { margin: 0; padding: 0; border: 0; background: none; color: inherit; font: inherit; touch-action: manipulation }
.panel button { display: grid; place-items: center; cursor: pointer }
.panel svg { flex: none; inline-size: 20px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round }
.panel :focus-visible { outline: 2px solid; outline-offset: 2px }
.panel button:focus-visible { outline-color: var(--ink) }
.panel :is(.more, .close, .voice, .send, .attach, .remove) { flex: none; inline-size: 40px; block-size: 40px; border-radius: 50%; transition: background .2s, scale .2s }

.head { display: flex; align-items: center; gap: 8px; padding: 14px 12px; padding-inline-start: 18px; background: var(--accent); color: var(--on); --ink: var(--on); touch-action: none }
.heading { flex: 1; display: flex; align-items: center; gap: 12px; font-size: 17px; font-weight: 650; line-height: 1.25 }
.avatar {
  flex: none; display: grid; place-items: center; overflow: hidden; inline-size: 2.3em; block-size: 2.3em; border-radius: 50%;
  background: var(--raised); box-shadow: 0 0 0 1px #8883; font-size: 13px; font-weight: 650; line-height: 1;
}
.panel .more svg { stroke-width: 3 }
.avatar img { inline-size: 100%; block-size: 100%; object-fit: cover }
.head .avatar { background: var(--on); color: var(--accent); font-size: 16px }

.scroller { flex: 1; display: flex; flex-direction: column; padding: 20px 16px 4px; overflow: hidden auto; overscroll-behavior: contain; overflow-anchor: none; scrollbar-width: thin; scrollbar-color: var(--line) transparent }
.panel :is(.scroller, .head button):focus-visible { outline-offset: -3px }
.intro { flex: none; display: flex; flex-direction: column; justify-content: flex-end; min-block-size: 100%; padding: 12px 8px 8px; font-size: 18px; font-weight: 600; line-height: 1.35; text-align: center; text-wrap: balance }
.scroller:not([data-begun]) .intro[data-alone] { justify-content: center }
.intro .avatar { margin: 0 auto 16px; background: var(--accent); color: var(--on); font-size: 27px }
.day, .name, .meta, .status, audio + .file, small, [data-kind=system] { color: var(--soft); font-size: 12.5px }
.day { margin: 20px 0 -4px; text-align: center; font-weight: 600 }
.day::first-letter { text-transform: uppercase }

.message { position: relative; display: flex; flex-direction: column; align-items: flex-start; margin-block-start: 3px; padding-inline: 40px 28px }
.message[data-fresh] { animation: rise .28s cubic-bezier(.16, 1, .3, 1) }
.message[data-first] { margin-block-start: 16px }
.message[data-kind=visitor] { align-items: flex-end; padding-inline: 56px 0 }
.message[data-kind=system] { align-items: center }
.message > .avatar { display: none; position: absolute; inset-inline-start: 0; inset-block-end: 24px }
.message[data-last] > .avatar { display: grid }
.name { margin: 0 14px 4px; font-weight: 600 }
.message:not([data-first]) .name, :is([data-kind=visitor], [data-kind=system]) .name { position: absolute; clip-path: inset(50%) }
.text { max-inline-size: 100%; white-space: pre-wrap }
.message:not([data-kind=system]) > .text { padding: 8px 14px 9px; border-radius: 19px; border-end-start-radius: 6px; background: var(--raised) }
[data-kind=staff]:not([data-first]) > .text { border-start-start-radius: 6px }
.message[data-kind=visitor] > .text { border-end-start-radius: 19px; border-end-end-radius: 6px; background: var(--accent); color: var(--on); box-shadow: inset 0 0 0 1px #8883 }
[data-kind=visitor]:not([data-first]) > .text { border-start-end-radius: 6px }
.message[data-state=failed] > .text { background: none; color: inherit; box-shadow: inset 0 0 0 1.5px var(--alarm) }
.message[data-deleted] > .text { background: none; color: var(--soft); box-shadow: inset 0 0 0 1px var(--line); font-style: italic }
.message > .text.emoji { padding: 0; background: none; box-shadow: none; font-size: 40px; line-height: 1.2 }
.text a { color: inherit; text-underline-offset: 2px }
.text p { margin: 0; min-block-size: 1lh }
.text :is(ul, ol, blockquote, pre) { margin: 4px 0; padding-inline-start: 1.4em }
.text blockquote { padding-inline-start: 10px; border-inline-start: 3px solid #8888 }
.text :is(code, pre) { padding: 1px 5px; border-radius: 6px; background: #8883; font: .88em/1.5 ui-monospace, monospace }
.text pre { padding: 8px 10px; white-space: pre-wrap }
.meta { display: none; flex-wrap: wrap; align-items: center; gap: .6em; min-block-size: 24px; padding-inline: 14px }
[data-kind=visitor] > .meta { flex-direction: row-reverse; padding-inline: 4px }
:is([data-last], [data-state=failed], [data-late]):not([data-kind=system]) > .meta { display: flex }
:is(.note, .state) { display: none }
[data-edited] .note, :is([data-latest], [data-state=failed], [data-late]) .state { display: flex; align-items: center; gap: .6em }
[data-state=failed] .state { color: var(--alarm) }
.panel .retry { min-block-size: 36px; font-weight: 650; text-decoration: underline }

.files { display: flex; flex-direction: column; align-items: inherit; gap: 3px; max-inline-size: 100%; padding-block-start: 3px }
.file { display: flex; align-items: center; gap: 12px; max-inline-size: 100%; min-block-size: 44px; overflow: hidden; padding: 8px 14px; border-radius: 14px; background: var(--raised); color: inherit; line-height: 1.3; text-decoration: none }
.pictured { padding: 0; max-inline-size: min(100%, 260px) }
.file img { block-size: 195px; max-inline-size: 100%; object-fit: cover }
.file small { display: block }
.files audio { max-inline-size: 100%; overflow: hidden; border-radius: 27px }
audio + .file { background: none }
audio + .file :is(svg, small) { display: none }

.status { display: flex; align-items: center; gap: 10px; min-block-size: 22px; padding: 0 16px 2px }
.panel .jump { align-self: center; block-size: 36px; margin-block: -44px 8px; padding-inline: 15px; border-radius: 22px; background: var(--ink); color: var(--ground); font-size: 13px; font-weight: 600; z-index: 1; animation: rise .25s }

.form { padding: 6px 12px calc(12px + var(--safe, 0px)) }
.field { display: flex; align-items: flex-end; padding: 4px; border-radius: 24px; background: var(--raised); transition: box-shadow .2s }
.field:focus-within { background: none; box-shadow: inset 0 0 0 1.5px var(--soft) }
.panel .composer { flex: 1; min-inline-size: 0; min-block-size: 40px; max-block-size: 148px; padding: 9px 8px 8px; padding-inline-start: 4px; outline: none; font-size: 16px; line-height: 23px; resize: none; scrollbar-width: thin }
.composer::placeholder { color: var(--soft); opacity: 1; white-space: nowrap }
.panel .send { background: var(--accent); color: var(--on) }
.panel [data-empty] .send { background: none; color: var(--soft) }
.send:active { scale: .9 }
.panel :is(.attach, .voice) { color: var(--soft) }
.form:not([data-empty]) .voice { display: none }

@keyframes rise { from { opacity: 0; transform: translateY(8px) } }

@media (hover) {
  .head button:hover { background: #8884 }
  .file:hover { filter: brightness(.96) }
  .panel :is(.attach, .voice):hover { color: inherit }
}
@media (pointer: coarse) {
  .panel :is(.more, .close, .voice, .send, .attach, .remove) { inline-size: 44px; block-size: 44px }
  .panel :is(.composer, .retry, .jump) { min-block-size: 44px }
  .panel .composer { padding-block: 11px 10px }
  .field { border-radius: 26px }
}
@media (max-width: 480px), (max-height: 440px) {
  .root .panel { inset: 0 0 auto; inline-size: auto; block-size: 100dvh; border-radius: 0; --safe: env(safe-area-inset-bottom) }
  .open .launcher { visibility: hidden }
  .head { padding-block-start: calc(12px + env(safe-area-inset-top)) }
  .panel > * { padding-inline: max(12px, env(safe-area-inset-left), env(safe-area-inset-right)) }
}
.inline { block-size: 100% }
.inline .panel { position: relative; inset: auto; z-index: auto; inline-size: auto; block-size: 100%; border-radius: 0; box-shadow: none; transition: none }
.inline .close { display: none }
@media (forced-colors: active) {
  .badge, .panel, .avatar, .text, .field, .file, .panel :is(.send, .jump) { border: 1px solid }
  .head { border-block-end: 1px solid }
  .field:focus-within { outline: 2px solid }
}
`;

/** @type {Record<string, CSSStyleSheet>} */
const sheets = {};

/** Adds a sheet to those of the widget, unless it is there. @param {ShadowRoot} shadow @param {string} style */
export function wear({ adoptedStyleSheets }, style) {
  const sheet = (sheets[style] ??= new CSSStyleSheet());
  if (adoptedStyleSheets.includes(sheet)) return;
  sheet.replaceSync(style);
  adoptedStyleSheets.push(sheet);
}

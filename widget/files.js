/** The files of the message that is being written: uploaded as soon as they are chosen, shown above the composer. */
import { PICTURE, card, element, icon, picture, sound } from "./nodes.js";
import { wear } from "./style.js";
import { say, sizeOf, teach } from "./texts.js";

const REMOVE = "M7 7l10 10m0-10L7 17";
/** What the gateway takes. */
const LARGEST = 10_000_000;
const MOST = 10;
/** What holds no script, opened from the page too. */
const OURS = /^(image\/(png|jpeg|gif|webp|avif)|audio\/(mp4|mpeg|ogg|wav|webm))$/;

const STYLE = `
.tray { display: flex; flex-wrap: wrap; gap: 8px; max-block-size: 200px; margin: 0 0 8px; padding: 0; overflow-y: auto; border-radius: 14px; list-style: none; scrollbar-width: thin }
.tray:empty { display: none }
.upload { position: relative; display: grid; grid-template-columns: auto 1fr auto; align-items: center; gap: 0 12px; inline-size: 100%; padding: 4px; padding-inline-start: 12px; overflow: hidden; border-radius: 14px; background: var(--raised); line-height: 1.3 }
.upload span, .upload bdi { min-inline-size: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.upload :is(bdi, small) { display: block }
.upload img { inline-size: 40px; block-size: 40px; margin-inline-start: -6px; border-radius: 8px; object-fit: cover }
.upload :is(.trouble, .retry) { grid-column: 2; justify-self: start }
.upload audio { grid-column: 1 / -1; inline-size: calc(100% + 8px); block-size: 40px; margin-block-start: 4px; margin-inline-start: -8px; overflow: hidden; border-radius: 20px }
.panel .trouble { padding-block-end: 6px; color: var(--alarm); white-space: normal }
.trouble:empty { display: none }
.upload progress { position: absolute; inset: auto 0 0; inline-size: 100%; block-size: 3px; border: 0; background: none; appearance: none }
.upload progress::-webkit-progress-bar { background: none }
.upload progress::-webkit-progress-value { background: var(--ink) }
.upload progress::-moz-progress-bar { background: var(--ink) }
@media (prefers-reduced-motion: no-preference) { .upload progress::-webkit-progress-value { transition: inline-size .2s } }
@media (forced-colors: active) { .upload { border: 1px solid } }
`;

teach({
  files: "Files of your message",
  remove: "Remove {name}",
  uploading: "Your message is sent as soon as the files are uploaded.",
  unsettled: "A file could not be uploaded. Try again or remove it.",
  manyFiles: "A message holds at most {n} files.",
  largeFile: "Too large: at most {n}.",
  badFile: "The file is empty, or not what its name says.",
  broken: "This does not work at the moment.",
});

const tooLarge = () => say("largeFile", { n: sizeOf(LARGEST) });

export class Files {
  #list = element("ul", { class: "tray", "aria-label": say("files") });
  #host;
  #ticket;
  #changed;
  /** @type {Chat.Upload[]} */
  #uploads = [];

  /** @param {HTMLElement} form @param {Chat.Host} host @param {() => string | null} ticket @param {() => void} changed */
  constructor(form, host, ticket, changed) {
    wear(host.shadow, STYLE);
    form.prepend(this.#list);
    this.#host = host;
    this.#ticket = ticket;
    this.#changed = changed;
  }

  get count() {
    return this.#uploads.length;
  }

  /** How the whole stands: the worst of "failed", "uploading" and "ready". */
  get state() {
    const has = (state = "") => this.#uploads.some(({ node }) => node.dataset.state === state);
    return has("failed") ? "failed" : has("waiting") || has("uploading") ? "uploading" : "ready";
  }

  /** @param {Iterable<File>} files @returns {string} what is told of those that are not taken */
  add(files) {
    const chosen = [...files];
    const room = MOST - this.count;
    for (const file of chosen.slice(0, room)) this.#uploads.push(this.#draw(file));
    this.upload();
    return chosen.length > room ? say("manyFiles", { n: MOST }) : "";
  }

  /** Gives up all of them, for another to adopt. @returns {Pick<Chat.Upload, "file" | "attachment">[]} */
  give() {
    return this.#uploads.map(({ file, request, attachment }) => {
      if (!attachment) request?.abort();
      return { file, attachment };
    });
  }

  /** @param {Pick<Chat.Upload, "file" | "attachment">[]} given some of them uploaded already */
  adopt(given) {
    for (const { file, attachment } of given) {
      const upload = this.#draw(file);
      this.#uploads.push(upload);
      if (attachment) this.#settle(upload, attachment);
    }
    this.upload();
  }

  /** Uploads what waits, if that can be done now. */
  upload() {
    for (const upload of this.#uploads) {
      if (upload.node.dataset.state !== "waiting") continue;
      const token = this.#ticket();
      if (token) this.#start(upload, token);
    }
    this.#changed();
  }

  /** Takes the files out, for a message. @returns {Chat.Attachment[]} */
  take() {
    const taken = this.#uploads.flatMap(({ attachment }) => attachment ?? []);
    this.#uploads = [];
    this.#list.replaceChildren();
    return taken;
  }

  /** Drops all of them. */
  clear() {
    for (const upload of this.#uploads) this.#remove(upload);
  }

  /** @param {File} file @returns {Chat.Upload} */
  #draw(file) {
    const url = URL.createObjectURL(file);
    const note = element("small", { class: "trouble", role: "alert" });
    const progress = element("progress", { "aria-label": file.name, max: "1", value: "0" });
    const again = element("button", { part: "retry", type: "button", hidden: "" }, say("again"));
    const remove = element("button", { part: "remove", type: "button", "aria-label": say("remove", { name: file.name }) }, icon(REMOVE));
    const [sign, label] = card(file);
    const shown = PICTURE.test(file.type) ? picture(url, "", sign) : sign;
    const node = element("li", { part: "upload" }, shown, label, remove, note, again, ...sound(url, file), progress);
    const upload = { file, url, node, note, progress, again };
    again.onclick = () => {
      this.#show(upload, "waiting");
      this.upload();
      this.#goOn();
    };
    remove.onclick = () => {
      this.#remove(upload);
      this.#goOn();
    };
    this.#list.append(node);
    if (file.size > LARGEST) this.#show(upload, "failed", tooLarge());
    else this.#show(upload, "waiting");
    return upload;
  }

  /** Puts the focus, whose button is gone, where the message is written. */
  #goOn() {
    this.#list.parentElement?.querySelector("textarea")?.focus();
  }

  /** @param {Chat.Upload} upload */
  #remove(upload) {
    upload.request?.abort();
    upload.node.remove();
    URL.revokeObjectURL(upload.url);
    this.#uploads = this.#uploads.filter((one) => one !== upload);
    this.#changed();
  }

  /** @param {Chat.Upload} upload @param {string} token */
  #start(upload, token) {
    this.#show(upload, "uploading");
    const form = new FormData();
    form.append("file", upload.file);
    const request = (upload.request = new XMLHttpRequest()); // fetch does not tell how far an upload has come
    request.upload.onprogress = ({ loaded, total }) => (upload.progress.value = loaded / total);
    request.onload = () => this.#finish(upload, request);
    request.onerror = () => this.#fail(upload, say("offline"));
    request.open("POST", this.#host.origin + "/v1/uploads");
    request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.send(form);
  }

  /** @param {Chat.Upload} upload @param {XMLHttpRequest} request */
  #finish(upload, request) {
    try {
      const answer = JSON.parse(request.responseText);
      if (answer.code === "too_large") return this.#fail(upload, tooLarge(), true);
      if (answer.code === "bad_file") return this.#fail(upload, say("badFile"), true);
      if (request.status !== 201) return this.#fail(upload, say("broken"));
      this.#settle(upload, answer);
      this.#changed();
    } catch {
      this.#fail(upload, say("broken")); // a proxy's page
    }
  }

  /** @param {Chat.Upload} upload @param {Chat.Attachment} attachment */
  #settle(upload, attachment) {
    // Anything else, opened from here, would be a page of the site's own origin.
    upload.attachment = { ...attachment, url: OURS.test(upload.file.type) ? upload.url : undefined };
    this.#show(upload, "ready");
  }

  /** @param {Chat.Upload} upload @param {string} reason @param {boolean} [final] */
  #fail(upload, reason, final) {
    this.#show(upload, "failed", reason);
    upload.again.hidden = final ?? false;
    this.#changed();
  }

  /** @param {Chat.Upload} upload @param {string} state */
  #show({ node, note, progress, again }, state, trouble = "") {
    node.dataset.state = state;
    note.textContent = trouble;
    again.hidden = true;
    progress.hidden = state !== "uploading" && state !== "waiting";
  }
}

/** What the visitor writes: the text, its draft, its files, and the way out. */
import { element, icon } from "./nodes.js";
import { say } from "./texts.js";

const CLIP = "M18 7v8a6 6 0 0 1-12 0V7a4 4 0 0 1 8 0v8a2 2 0 0 1-4 0V8";
const MICROPHONE = "M9 6a3 3 0 0 1 6 0v5a3 3 0 0 1-6 0zm-4 5a7 7 0 0 0 14 0m-7 7v3";
const SEND = "M12 19V5m-6 6l6-6 6 6";
/** What the gateway takes, in code points. */
const LONGEST = 4000;
/** Seconds after which "is typing" is repeated. */
const TYPING_EVERY = 3;

export class Composer {
  parts = form();
  #host;
  #connection;
  #tell;
  /** @type {Promise<import("./files.js").Files> | undefined} */
  #loading;
  /** @type {import("./files.js").Files | undefined} */
  #files;
  /** Whether the message leaves as soon as its files are there. */
  #waiting = false;
  /** Ends with the visitor: what is still on its way then is nobody else's. */
  #visit = new AbortController();
  #typedAt = 0;
  /** @type {Promise<(length: number) => void> | undefined} */
  #count;

  /** @param {Chat.Host} host @param {import("./connection.js").Connection} connection @param {(text?: string) => void} tell the visitor */
  constructor(host, connection, tell) {
    this.#host = host;
    this.#connection = connection;
    this.#tell = tell;
    const { form, text, attach, picker, voice } = this.parts;
    form.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    text.oninput = () => this.#typed();
    attach.onclick = () => picker.click();
    voice.onclick = () => {
      const { signal } = this.#visit;
      import("./voice.js").then(({ record }) => record(host, this, tell, signal), () => tell(say("offline")));
    };
    picker.onchange = () => {
      this.attach(picker.files);
      picker.value = ""; // so that the same file can be chosen again
    };
    text.onpaste = (event) => {
      const { types = [], files } = event.clipboardData ?? {};
      // A text that brings its picture, as cells of a spreadsheet do, is a text
      if (!types.includes("text/plain") || !types.includes("text/html")) this.attach(files, event);
    };
    text.value = this.#draft() ?? "";
  }

  focus() {
    this.parts.text.focus({ preventScroll: true });
  }

  /** Shows a microphone where the site wants one and the page may have one, and all of what is being written. */
  dress() {
    this.parts.voice.hidden = String(this.#host.site.look?.voice) === "false" || !navigator.mediaDevices;
    this.#measure(); // which takes a box that is in the page
  }

  /** Puts a text where there is none. It is kept, and told of, when the visitor goes on with it. */
  fill(text = "") {
    this.parts.text.value ||= text;
    this.#measure();
  }

  /** Gives back a text that was refused, unless the visitor writes another already. Returns whether it did. @param {string} text */
  restore(text) {
    if (this.parts.text.value) return false;
    this.parts.text.value = text;
    this.#typed();
    return true;
  }

  /** Lets go of everything. */
  clear() {
    this.#visit.abort();
    this.#visit = new AbortController();
    this.#waiting = false;
    this.#files?.clear();
    this.parts.text.value = "";
    this.#typed();
  }

  /** Uploads what waits for a connection. */
  upload() {
    this.#files?.upload();
  }

  /** Goes on with what was being written. @param {Composer} former */
  succeed(former) {
    const { value } = former.parts.text;
    const { signal } = this.#visit;
    this.#waiting = former.#waiting;
    if (value) this.parts.text.value = value;
    // What the former waits for comes there first
    former.#loading?.then(async (files) => signal.aborted || (await this.#load()).adopt(files.give())).catch(() => {});
  }

  #load() {
    return (this.#loading ??= import("./files.js").then(
      ({ Files }) => (this.#files = new Files(this.parts.form, this.#host, () => this.#connection.ticket(), () => this.#filesChanged())),
    ));
  }

  /** Adds files to the message. @param {Iterable<File> | null} [list] @param {Event} [event] that brought them */
  attach(list, event, focus = true) {
    const files = [...(list ?? [])];
    if (!files.length) return;
    event?.preventDefault();
    this.#connection.start();
    if (focus) this.focus();
    const { signal } = this.#visit;
    return this.#load().then(
      (all) => signal.aborted || this.#tell(all.add(files) || (this.#waiting ? say("uploading") : "")),
      () => {
        this.#loading = undefined; // so that the next file tries again
        this.#waiting = false;
        this.#tell(say("offline"));
      },
    );
  }

  submit() {
    const { text } = this.parts;
    const state = this.#loading && !this.#files ? "uploading" : this.#files?.state;
    this.#waiting = state === "uploading";
    if (!this.#measure()) return text.focus();
    if (this.#waiting) return this.#files && this.#tell(say("uploading")); // else it is told when they are there
    if (state === "failed") return this.#tell(say("unsettled"));
    this.#tell();
    this.send(text.value, this.#files?.take());
    text.value = "";
    this.#typedAt = 0; // the message itself ends the typing
    this.#typed();
  }

  /** @param {string} text @param {Chat.Attachment[]} [attachments] @param {string} [id] of one that failed */
  send(text, attachments = [], id) {
    this.#connection.send(clean(text), attachments, id);
    this.focus();
  }

  #filesChanged() {
    this.#measure();
    if (this.#waiting && this.#files?.state !== "uploading") this.submit();
  }

  #typed() {
    const { text } = this.parts;
    this.#draft(text.value);
    const on = text.value !== "";
    this.#measure();
    if (on) this.#connection.start();
    if (on ? Date.now() - this.#typedAt < TYPING_EVERY * 1000 : !this.#typedAt) return;
    this.#connection.tell({ type: "typing", on });
    this.#typedAt = on ? Date.now() : 0;
  }

  /** Keeps the text that is being written, for the site's next page; returns what is kept. @param {string} [text] */
  #draft(text) {
    const key = this.#host.storageKey + ":draft";
    try {
      if (text) sessionStorage[key] = text;
      else if (text === "") delete sessionStorage[key];
      return sessionStorage[key];
    } catch {
      return ""; // refused: it lasts as long as the page
    }
  }

  /** Fits the height, counts as the gateway does, says so near the end, and returns whether the text can be sent. */
  #measure() {
    const { text, form } = this.parts;
    text.style.blockSize = "auto";
    text.style.blockSize = `${text.scrollHeight}px`;
    const length = [...text.value].length;
    const fits = length <= LONGEST;
    const empty = !text.value.trim() && !this.#files?.count;
    form.toggleAttribute("data-empty", empty);
    if (length > LONGEST * 0.9) this.#count ??= import("./count.js").then(({ counter }) => counter(this.#host.shadow, form, LONGEST));
    this.#count?.then((show) => show(length), () => (this.#count = undefined));
    text.ariaInvalid = String(!fits);
    text.dir = text.value && "auto"; // WebKit would put what stands in an empty one on the left
    return fits && !empty;
  }
}

/** A text as the gateway takes it. @param {string} text */
export function clean(text) {
  return text.trim().replaceAll("\0", "").toWellFormed();
}

function form() {
  const text = element("textarea", {
    part: "composer", rows: "1", placeholder: say("write"), "aria-label": say("message"), enterkeyhint: "send",
  });
  const attach = element("button", { part: "attach", type: "button", "aria-label": say("attach") }, icon(CLIP));
  const picker = element("input", { type: "file", multiple: "", hidden: "" });
  const send = element("button", { part: "send", "aria-label": say("send") }, icon(SEND));
  const voice = element("button", { part: "voice", type: "button", "aria-label": say("voice") }, icon(MICROPHONE));
  const field = element("div", { class: "field" }, attach, picker, text, voice, send);
  const made = element("form", { class: "form", "data-empty": "" }, field);
  return { form: made, field, attach, picker, text, voice, send };
}

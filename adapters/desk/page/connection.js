/** Talks to the server: calls, files, and the stream of events, which comes back by itself. */

/** @typedef {{ kind: "visitor" | "staff" | "system", name?: string, avatar?: string }} Author */
/** @typedef {{ id: string, name: string, type: string, size: number, url: string }} Attachment */
/** @typedef {import("./text.js").Rich} Rich */
/**
 * @typedef {object} Message
 * @property {"message"} type
 * @property {number} seq
 * @property {Author} from
 * @property {string} text
 * @property {Rich} [rich]
 * @property {Attachment[]} attachments
 * @property {string} at
 * @property {"opened" | "closed" | "reopened" | "tracked"} [event]
 * @property {boolean} [edited]
 * @property {boolean} [deleted]
 */
/** @typedef {{ type: "revision", seq: number, of: number, text: string, rich?: Rich, deleted?: boolean }} Revision */
/** @typedef {Message | Revision} Entry */
/**
 * @typedef {object} Profile
 * @property {string} [identity]
 * @property {string} [name]
 * @property {string} [email]
 * @property {string} [locale]
 * @property {string} [timezone]
 * @property {{ url: string, title: string, referrer: string }} page
 */
/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} visitor
 * @property {string} site
 * @property {boolean} open
 * @property {string} active_at
 * @property {Profile} profile
 * @property {Message | null} last
 */
/**
 * @typedef {object} Listener
 * @property {() => void} ready connected: from now on nothing is missed
 * @property {(conversation: Conversation | null, entries: Entry[]) => void} changed
 * @property {(conversation: string, from: Author, on: boolean) => void} typing
 * @property {(online: boolean) => void} online
 * @property {(sentence: string) => void} refused the token does not open the desk
 */

const SILENCE = 40_000;
const LONGEST_WAIT = 30_000;
const TOO_LARGE = "This is too large: the desk takes files and messages of up to 5 MB.";

/** An answer that is no success, with a sentence for a person. */
export class Failure extends Error {
  /**
   * @param {number} status 0 where there was no answer
   * @param {string} sentence
   */
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export class Connection {
  #stopped = false;
  /** @type {AbortController | null} */
  #stream = null;
  /** @type {(() => void) | null} */
  #wake = null;

  /** @param {string} token */
  constructor(token) {
    this.token = token;
    this.wake = () => {
      if (document.visibilityState === "visible") this.#wake?.();
    };
  }

  /**
   * @param {string} path below `api/`
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async call(path, body) {
    const response = await this.#fetch(path, body ? { method: "POST", body: JSON.stringify(body) } : {});
    return response.json();
  }

  /**
   * @param {File} file
   * @returns {Promise<Attachment>}
   */
  async upload(file) {
    const headers = { "content-type": file.type || "application/octet-stream" };
    const response = await this.#fetch(`files?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file, headers });
    return response.json();
  }

  /** @param {Listener} listener */
  async listen(listener) {
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    for (let failures = 0; !this.#stopped; failures++) {
      try {
        await this.#read(listener, () => (failures = 0));
      } catch (error) {
        if (error instanceof Failure && error.status === 401) {
          listener.refused(error.message);
          break;
        }
      }
      if (this.#stopped) break;
      listener.online(false);
      await this.#pause(Math.min(LONGEST_WAIT, 500 * 2 ** failures) * (0.5 + Math.random() / 2));
    }
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
  }

  stop() {
    this.#stopped = true;
    this.#stream?.abort();
    this.#wake?.();
  }

  /**
   * @param {string} path
   * @param {RequestInit & { headers?: Record<string, string> }} options
   */
  async #fetch(path, options) {
    let response;
    try {
      const headers = { ...options.headers, authorization: `Bearer ${this.token}` };
      response = await fetch(new URL(`api/${path}`, document.baseURI), { ...options, headers, cache: "no-store" });
    } catch {
      throw new Failure(0, "The server cannot be reached. Your text is kept here: try again.");
    }
    if (response.ok) return response;
    const answer = await response.json().catch(() => ({}));
    // The gateway refuses it ahead of the desk, in words for programs.
    if (response.status === 413) throw new Failure(413, TOO_LARGE);
    throw new Failure(response.status, answer.detail || `The server answered ${response.status}. Try again.`);
  }

  /**
   * @param {Listener} listener
   * @param {() => void} connected
   */
  async #read(listener, connected) {
    const stream = (this.#stream = new AbortController());
    // A sleeping network keeps a dead socket open for long: without a sign of life it is given up.
    let watch = setTimeout(() => stream.abort(), SILENCE);
    try {
      const response = await this.#fetch("events", { signal: stream.signal });
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let held = "";
      for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader?.read()) {
        clearTimeout(watch);
        watch = setTimeout(() => stream.abort(), SILENCE);
        const events = (held + chunk.value).split("\n\n");
        held = events.pop() ?? "";
        for (const event of events) if (dispatch(event, listener)) connected();
      }
    } finally {
      clearTimeout(watch);
      stream.abort();
    }
  }

  /** @param {number} milliseconds */
  async #pause(milliseconds) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    this.#wake = null;
  }
}

/**
 * @param {string} event the lines of one
 * @param {Listener} listener
 * @returns {boolean} whether the stream has just begun
 */
function dispatch(event, listener) {
  const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? [];
  if (!name || !data) return false;
  const frame = JSON.parse(data);
  if (name === "ready") {
    listener.online(true);
    listener.ready();
  } else if (name === "changed") {
    listener.changed(frame.conversation, frame.entries);
  } else if (name === "typing") {
    listener.typing(frame.conversation, frame.from, frame.on);
  }
  return name === "ready";
}

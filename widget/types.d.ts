/**
 * What the widget's modules hand to each other, and the frames of the contract as far as the widget uses them.
 *
 * What pages may call is in `widget.d.ts`.
 *
 * Parts in the open shadow root of `threadbridge-widget`, for pages and tests: launcher, badge, panel, log, message, text,
 * composer (a textarea), attach, voice, recorder, send, retry, upload (a file of the message being written), remove, more, close,
 * jump, copy, viewer, question, consent, agree. A message has `data-kind` (visitor, staff, system), `data-seq` once it is known, and on
 * the visitor's own `data-state` (sending, stored, sent, seen, failed).
 */
declare namespace Chat {
  interface Site {
    key: string;
    name: string;
    look?: Threadbridge.Options;
    /** After how many seconds somebody usually answers, where it is known. */
    answers?: number;
  }
  interface Author {
    kind: "visitor" | "staff" | "system";
    name?: string | null;
    avatar?: string | null;
  }
  interface Attachment {
    id: string;
    name: string;
    type: string;
    size: number;
    /** Of one that is not yet sent: where the page itself has it. */
    url?: string;
  }
  type Delivery = "waiting" | "sent" | "failed";

  interface Message {
    seq: number;
    /** The client's, on the visitor's own. */
    id?: string;
    from: Author;
    text: string;
    format?: string;
    event?: string;
    at: string;
    attachments?: Attachment[];
    delivery?: Delivery;
    edited?: boolean;
    deleted?: boolean;
  }
  interface Revision {
    seq: number;
    of: number;
    text?: string;
    format?: string;
    deleted?: boolean;
  }
  type Entry = Message | Revision;
  interface Welcome {
    token: string;
    visitor: string;
    log: string;
    seq: number;
    read: number;
    seen: number;
    reset: boolean;
    messages: Entry[];
    deliveries: { of: number; state: Delivery }[];
    site: Site;
  }
  interface Ack {
    id: string;
    seq: number;
    at: string;
  }
  interface Refusal {
    code: string;
    /** For a person. */
    detail?: string;
    id?: string;
    retry_after?: number;
  }
  type Frame =
    | ({ type: "welcome" } & Welcome)
    | ({ type: "ack" } & Ack)
    | ({ type: "message" } & Message)
    | ({ type: "revision" } & Revision)
    | { type: "delivery"; of: number; state: Delivery }
    | { type: "read"; seq: number }
    | { type: "alive" }
    | { type: "seen"; seq: number }
    | { type: "typing"; from: Author; on: boolean }
    | { type: "history"; messages: Message[]; more: boolean }
    | ({ type: "error" } & Refusal);

  /** A message that the gateway has not acknowledged. */
  interface Unsent {
    id: string;
    text: string;
    /** Uploaded already. */
    attachments: Attachment[];
    at: string;
  }
  /** A file on its way; its node's `data-state` is waiting, uploading, ready or failed. */
  interface Upload {
    file: File;
    /** Where the page itself has it. */
    url: string;
    node: HTMLElement;
    note: HTMLElement;
    progress: HTMLProgressElement;
    again: HTMLButtonElement;
    request?: XMLHttpRequest;
    attachment?: Attachment;
  }
  /** What the browser keeps of a site. */
  interface Kept {
    token: string | null;
    /** Whose the token is. */
    visitor: string | null;
    queue: Unsent[];
    /** Whether sockets do not work in this network. */
    blocked: boolean;
    /** Whether the visitor wants no sound. */
    quiet: boolean;
  }

  /** Whom the gateway knows us as, and up to where we hold which log. */
  interface Session {
    token: string | null;
    visitor: string | null;
    log: string | null;
    after: number;
  }

  /** What the panel does with the connection's news. */
  interface Listener {
    /** `fresh`: what is shown belongs to another log. */
    welcome(welcome: Welcome, fresh: boolean): void;
    queued(unsent: Unsent): void;
    ack(ack: Ack): void;
    /** The message has left the queue. */
    refused(unsent: Unsent, code: string): void;
    /** The gateway cannot take a message now. It stays in the queue, and is tried again. */
    delayed(): void;
    entry(entry: Entry): void;
    /** These take their frames as they are. */
    delivery(frame: { of: number; state: Delivery }): void;
    read(frame: { seq: number }): void;
    seen(frame: { seq: number }): void;
    typing(frame: { from: Author; on: boolean }): void;
    history(frame: { messages: Message[]; more: boolean }): void;
    /** The visitor has logged out: what was shown or waited is another person's. */
    forgotten(): void;
    error(refusal: Refusal): void;
    /** `stopped`: the gateway turned us away for good. */
    state(online: boolean, stopped?: boolean): void;
  }

  /** How far one of the visitor's messages has come. */
  type State = "sending" | "stored" | "seen" | Delivery;

  /** One message as the log keeps it. */
  interface Item extends Message {
    /** Infinite until the gateway has given one. */
    seq: number;
    /** When its day began, in milliseconds. */
    midnight: number;
    /** Of the visitor's own. */
    state?: State;
    /** Once it was shown. */
    node?: HTMLElement;
    /** The separator before it, on its day's first. */
    day?: HTMLElement;
  }

  /** What the panel hands to what is loaded on demand. */
  interface Room {
    host: Host;
    connection: import("./connection.js").Connection;
    parts: { panel: HTMLElement; more: HTMLElement; scroller: HTMLElement; log: HTMLElement; status: HTMLElement };
    /** Tells the visitor, in the panel's status. */
    tell(text?: string): void;
  }
  /** One line of the menu. */
  interface MenuItem {
    label: string;
    /** Its icon's path. */
    sign?: string;
    /** Of one that switches something. */
    checked?: boolean;
    act(): void;
  }

  /** What the loader hands to the panel. */
  interface Host {
    storageKey: string;
    /** The gateway's. */
    origin: string;
    site: Site;
    /** Whom the page says the visitor is. */
    identity?: Threadbridge.Identity;
    /** What the page told of the visitor since the gateway has last heard of it: names, and what belongs to them. */
    tracked: [string, object | null][];
    /** The page's own title, where something may stand before it. */
    title?: () => string;
    shadow: ShadowRoot;
    root: HTMLElement;
    launcher: HTMLButtonElement;
    /** Draws lines in 24 by 24 units. */
    icon(path?: string): SVGElement;
    /** Applies a site's look, and what the page asked for over it. */
    dress(site: Site): void;
    /** Tells the page. */
    emit<Name extends keyof Threadbridge.Events>(event: Name, detail?: Threadbridge.Events[Name]): void;
    /** Tells the launcher how the panel stands. */
    opened(open: boolean): void;
    /** Shows how many messages nobody has seen. */
    unread(messages: number): void;
  }
}

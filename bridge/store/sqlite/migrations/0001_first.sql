-- Times are milliseconds since 1970 UTC. Ids of visitors and conversations are ordered by time (ADR 0004).
-- Checks name their values one by one: of a list of three or more SQLite makes a table first, at each insert.

create table meta (
    key text primary key,
    value text not null
) without rowid;

create table visitor (
    id integer primary key,
    site text not null,
    seq integer not null default 0,
    read integer not null default 0,
    identity text,
    name text,
    email text,
    locale text,
    timezone text,
    page_url text not null default '',
    page_title text not null default '',
    referrer text not null default '',
    created_at integer not null,
    merged_into integer references visitor (id) -- whose log has this one's entries now
);
create unique index visitor_identity on visitor (site, identity) where identity is not null;

create table conversation (
    id integer primary key,
    visitor integer not null references visitor (id),
    opened_at integer not null,
    active_at integer not null,
    closed_at integer,
    context text not null -- the visitor's profile at the opening, JSON
);
create unique index conversation_open on conversation (visitor) where closed_at is null;
create index conversation_of_visitor on conversation (visitor, id);
create index conversation_activity on conversation (active_at);

create table staff (
    id integer primary key,
    adapter text not null,
    remote_id text not null,
    name text not null,
    avatar text,
    unique (adapter, remote_id)
);

-- A visitor's log: messages, and revisions of messages (`of` is the seq of the revised one).
create table entry (
    id integer primary key,
    visitor integer not null references visitor (id),
    seq integer not null,
    conversation integer not null references conversation (id),
    author text not null check (author = 'visitor' or author = 'staff' or author = 'system'),
    staff integer references staff (id),
    text text not null,
    format text not null default 'plain' check (format = 'plain' or format = 'markdown'),
    at integer not null,
    client_id text,
    event text,
    attachments text, -- JSON, null where there are none
    of integer,
    deleted integer not null default 0,
    unique (visitor, seq)
);
create unique index entry_client on entry (visitor, client_id) where client_id is not null;
create index entry_revision on entry (visitor, of) where of is not null;

create table file (
    id text primary key,
    name text not null,
    type text not null,
    size integer not null,
    owner integer,
    entry integer references entry (id),
    created_at integer not null
) without rowid;
create index file_of_visitor on file (owner, created_at) where owner is not null;
create index file_unattached on file (created_at) where owner is not null and entry is null;

-- Conversation x Destination: `thread` is the current one, `token` that of an opening which is under way.
create table link (
    id integer primary key,
    conversation integer not null references conversation (id),
    adapter text not null,
    destination text not null,
    thread text,
    token text,
    opening_since integer,
    unique (conversation, destination)
);
create index link_opening on link (adapter) where token is not null;

-- Every thread that a link has or had: replies in former ones still find their conversation.
create table thread (
    adapter text not null,
    key text not null,
    link integer not null references link (id),
    opened_at integer not null,
    gone text, -- why it is a former one
    primary key (adapter, key)
) without rowid;

-- The outbox. The first member of a plan holds it; `claim` names that member in all of them.
create table delivery (
    id integer primary key,
    destination text not null,
    conversation integer not null references conversation (id),
    entry integer not null references entry (id),
    notice text, -- a text of the bridge's own, in the place of the entry
    state text not null default 'pending' check (
        state = 'pending' or state = 'claimed' or state = 'sent' or state = 'uncertain' or state = 'dead'),
    created_at integer not null,
    due_at integer not null,
    attempts integer not null default 0,
    claim integer,
    claimed_until integer,
    plan text,
    reason text not null default ''
);
create unique index delivery_once on delivery (entry, destination) where notice is null;
create index delivery_queue on delivery (destination, conversation, entry, id)
    where state in ('pending', 'claimed', 'uncertain');
create index delivery_dead on delivery (id) where state = 'dead';

create table receipt (
    delivery integer not null references delivery (id), -- the plan's first member
    part integer not null,
    remote_id text not null,
    primary key (delivery, part)
) without rowid;

-- Platform events that were taken, keyed by content. The row of a message's own id leads to its entry.
create table inbound (
    adapter text not null,
    thread text not null,
    event text not null,
    entry integer references entry (id),
    parked text, -- the event itself, while its thread may be about to be linked
    at integer not null,
    primary key (adapter, thread, event)
) without rowid;
create index inbound_parked on inbound (adapter, at) where parked is not null;

create table cursor (
    adapter text primary key,
    value text not null
) without rowid;

-- Staff's messages of which something has still to be fetched from the platform: until they are taken, over restarts too.
create table owed (
    adapter text not null,
    thread text not null,
    message text not null,
    event text not null, -- JSON
    at integer not null,
    primary key (adapter, thread, message)
) without rowid;

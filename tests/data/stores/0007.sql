-- The open conversation has a topic on Telegram, which began in its middle and does not show yet what went before.

insert into link (id, conversation, adapter, destination, thread, token, opening_since, reads_log, former, lacks_past)
    values (6, 202, 'telegram', 'telegram:-100', '-100/9', null, null, 0, '-100/8', 1);

insert into thread (adapter, key, link, opened_at, gone, stands) values
    ('telegram', '-100/8', 6, 1777723200100, 'deleted', 0),
    ('telegram', '-100/9', 6, 1777723200200, null, 0);

insert into delivery (id, destination, conversation, entry, state, created_at, due_at) values
    (14, 'telegram:-100', 202, 7, 'pending', 1777723200000, 1777723200000);

-- The open conversation had a thread in a second channel of Slack, which was locked and can still be looked at.

insert into link (id, conversation, adapter, destination, thread, token, opening_since, reads_log, former) values
    (5, 202, 'slack', 'slack:C2', null, null, null, 0, 'C2:1.0');

insert into thread (adapter, key, link, opened_at, gone, stands) values
    ('slack', 'C2:1.0', 5, 1777723200100, 'it is locked', 1);

insert into delivery (id, destination, conversation, entry, state, created_at, due_at) values
    (13, 'slack:C2', 202, 7, 'pending', 1777723200000, 1777723200000);

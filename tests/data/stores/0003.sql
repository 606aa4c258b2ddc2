-- The answered conversation is shown at a desk, too, to which nothing has to be sent.

insert into link (id, conversation, adapter, destination, thread, token, opening_since, reads_log) values
    (4, 201, 'desk', 'desk', '201', null, null, 1);

insert into thread (adapter, key, link, opened_at, gone) values ('desk', '201', 4, 1777636800000, null);

insert into delivery (id, destination, conversation, entry, state, created_at, due_at) values
    (8, 'desk', 201, 1, 'sent', 1777636800000, 1777636800000),
    (9, 'desk', 201, 2, 'sent', 1777636801000, 1777636801000),
    (10, 'desk', 201, 3, 'sent', 1777636802000, 1777636802000),
    (11, 'desk', 201, 4, 'sent', 1777636803000, 1777636803000),
    (12, 'desk', 201, 5, 'sent', 1777636804000, 1777636804000);

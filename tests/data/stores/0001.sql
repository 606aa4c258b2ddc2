-- One conversation that was answered and closed, in a thread that had a predecessor, with a file, an edit, a message that
-- was given up at a second destination; another that waits for its thread; a guest who turned out to be the same person.

insert into meta (key, value) values ('generation', 'abcd1234');

insert into visitor (id, site, seq, read, identity, name, email, locale, timezone, page_url, page_title, referrer, created_at, merged_into) values
    (101, 'shop', 7, 3, 'customer-1', 'Ada', 'ada@shop.example', 'en-GB', 'Europe/Rome', 'https://shop.example/cart', 'Cart', '', 1777636800000, null),
    (102, 'shop', 0, 0, null, null, null, null, null, '', '', '', 1777636700000, 101);

insert into conversation (id, visitor, opened_at, active_at, closed_at, context) values
    (201, 101, 1777636800000, 1777636804000, 1777636804000, '["customer-1", "Ada", "ada@shop.example", "en-GB", "Europe/Rome", "https://shop.example/cart", "Cart", ""]'),
    (202, 101, 1777723200000, 1777723200000, null, '["customer-1", "Ada", "ada@shop.example", "en-GB", "Europe/Rome", "https://shop.example/help", "Help", ""]');

insert into staff (id, adapter, remote_id, name, avatar) values (1, 'slack', 'U1', 'Anna', '00000000000000000000000000000002');

insert into entry (id, visitor, seq, conversation, author, staff, text, format, at, client_id, event, attachments, of, deleted) values
    (1, 101, 1, 201, 'system', null, '', 'plain', 1777636800000, null, 'opened', null, null, 0),
    (2, 101, 2, 201, 'visitor', null, 'Where is my parcel?', 'plain', 1777636801000, 'c1', null, '[["00000000000000000000000000000001", "receipt.pdf", "application/pdf", 1234]]', null, 0),
    (3, 101, 3, 201, 'staff', 1, 'On its **wey**', 'markdown', 1777636802000, null, null, null, null, 0),
    (4, 101, 4, 201, 'staff', 1, 'On its **way**', 'markdown', 1777636803000, null, null, null, 3, 0),
    (5, 101, 5, 201, 'system', 1, '', 'plain', 1777636804000, null, 'closed', null, null, 0),
    (6, 101, 6, 202, 'system', null, '', 'plain', 1777723200000, null, 'opened', null, null, 0),
    (7, 101, 7, 202, 'visitor', null, 'It is not here yet', 'plain', 1777723200000, 'c2', null, null, null, 0);

insert into file (id, name, type, size, owner, entry, created_at) values
    ('00000000000000000000000000000001', 'receipt.pdf', 'application/pdf', 1234, 101, 2, 1777636800500),
    ('00000000000000000000000000000002', 'picture.jpg', 'image/jpeg', 4321, null, null, 1777636802000),
    ('00000000000000000000000000000003', 'never sent.txt', 'text/plain', 5, 101, null, 1777636800600);

insert into link (id, conversation, adapter, destination, thread, token, opening_since) values
    (1, 201, 'slack', 'slack', 'C1:2.0', null, null),
    (2, 201, 'telegram', 'telegram:-100', '-100/7', null, null),
    (3, 202, 'slack', 'slack', null, null, null);

insert into thread (adapter, key, link, opened_at, gone) values
    ('slack', 'C1:1.0', 1, 1777636800100, 'deleted'),
    ('slack', 'C1:2.0', 1, 1777636800200, null),
    ('telegram', '-100/7', 2, 1777636800300, null);

insert into delivery (id, destination, conversation, entry, notice, state, created_at, due_at, attempts, claim, claimed_until, plan, reason) values
    (1, 'slack', 201, 1, null, 'sent', 1777636800000, 1777636800000, 1, 1, null, '{"members":[1],"parts":[],"late":false,"defect":"","revises":null}', ''),
    (2, 'slack', 201, 2, null, 'sent', 1777636801000, 1777636801000, 1, 2, null, '{"members":[2],"parts":[[{"delivery":2,"start":0,"end":19,"attachment":null}]],"late":false,"defect":"","revises":null}', ''),
    (3, 'telegram:-100', 201, 2, null, 'dead', 1777636801000, 1777636801000, 1, 3, null, '{"members":[3],"parts":[[{"delivery":3,"start":0,"end":19,"attachment":null}]],"late":false,"defect":"","revises":null}', 'refused'),
    (4, 'telegram:-100', 201, 2, 'A message could not be delivered here: refused', 'sent', 1777636801500, 1777636801500, 1, 4, null, '{"members":[4],"parts":[[{"delivery":4,"start":0,"end":46,"attachment":null}]],"late":false,"defect":"","revises":null}', ''),
    (5, 'telegram:-100', 201, 3, null, 'sent', 1777636802000, 1777636802000, 1, 5, null, '{"members":[5],"parts":[[{"delivery":5,"start":0,"end":10,"attachment":null}]],"late":false,"defect":"","revises":null}', ''),
    (6, 'slack', 202, 6, null, 'pending', 1777723200000, 1777723200000, 0, null, null, null, ''),
    (7, 'slack', 202, 7, null, 'pending', 1777723200000, 1777723200000, 0, null, null, null, '');

insert into receipt (delivery, part, remote_id) values (1, 0, '2.0'), (2, 0, '3.0'), (4, 0, '11'), (5, 0, '12');

insert into inbound (adapter, thread, event, entry, parked, at) values
    ('slack', 'C1:2.0', '4.0', 3, null, 1777636802000),
    ('slack', 'C1:2.0', '4.0 edited 5.0', 4, null, 1777636803000);

insert into cursor (adapter, value) values ('telegram', '700000005');

-- Slack refused the file of the first message, and one that waits on Telegram was cut off.

insert into delivery (id, destination, conversation, entry, state, created_at, due_at, attempts, reason, files) values
    (20, 'slack', 201, 2, 'dead', 1777636801000, 1777636802000, 1, 'missing_scope', '[0]');
update delivery set cuts = 2, cut_since = 1777723201000 where id = 14;

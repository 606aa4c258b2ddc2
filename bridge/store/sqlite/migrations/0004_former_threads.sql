-- The thread that stood for the conversation before, and whether staff can still look at a former one.
alter table link add column former text;
alter table thread add column stands integer not null default 0;

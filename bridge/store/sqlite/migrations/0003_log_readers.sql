-- A destination that shows the store's conversations itself: what is stored is delivered there.
alter table link add column reads_log integer not null default 0;

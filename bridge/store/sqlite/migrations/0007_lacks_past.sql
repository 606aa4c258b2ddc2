-- The thread began in the middle of the conversation and does not show yet what went before.
alter table link add column lacks_past integer not null default 0;

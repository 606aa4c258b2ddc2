-- Up to which place of the log staff have seen what the visitor wrote.
alter table visitor add column seen integer not null default 0;

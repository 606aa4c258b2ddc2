-- Of what was given up: whether it may stand in its thread nevertheless. Revived, it is to be looked for.
alter table delivery add column may_be_there integer not null default 0;
update delivery set may_be_there = 1 where state = 'dead' and unanswered + defects > 0;

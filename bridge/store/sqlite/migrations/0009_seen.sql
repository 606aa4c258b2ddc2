-- Up to which place of the log staff have seen what the visitor wrote.
alter table visitor add column seen integer not null default 0;
-- Who answered has seen what went before.
update visitor set seen = coalesce(
    (select max(seq) from entry where entry.visitor = visitor.id and author = 'staff' and of is null), 0);

-- How many attempts had no answer, and how many failed by an error that nobody foresaw: so often a delivery is tried.
alter table delivery add column unanswered integer not null default 0;
alter table delivery add column defects integer not null default 0;

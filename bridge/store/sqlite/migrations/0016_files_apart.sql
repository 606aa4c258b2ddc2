-- Which of its entry's files, by their index, it delivers and nothing else (JSON): one that was given up, or what was
-- behind that. How often, and since when, the upload in question was cut off.
alter table delivery add column files text;
alter table delivery add column cuts integer not null default 0;
alter table delivery add column cut_since integer;
drop index delivery_once;
create unique index delivery_once on delivery (entry, destination, coalesce(files, '')) where notice is null;

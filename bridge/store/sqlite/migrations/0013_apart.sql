-- It was refused as it was planned, such as joined with others: from then on it is planned by itself.
alter table delivery add column apart integer not null default 0;

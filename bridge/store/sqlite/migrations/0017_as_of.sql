-- The revision as of which its entry is told: staff changed it before anything of it was sent.
alter table delivery add column as_of integer references entry (id);

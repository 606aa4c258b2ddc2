-- When staff first answered, and which were answered last: how soon somebody usually does is measured from these.
alter table conversation add column answered_at integer;
create index conversation_answered on conversation (answered_at) where answered_at is not null;

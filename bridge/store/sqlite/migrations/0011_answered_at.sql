-- When staff first answered, and which were answered last: how soon somebody usually does is measured from these.
alter table conversation add column answered_at integer;
update conversation set answered_at = (
    select min(at) from entry where entry.visitor = conversation.visitor and entry.conversation = conversation.id
        and author = 'staff' and of is null);
create index conversation_answered on conversation (answered_at) where answered_at is not null;

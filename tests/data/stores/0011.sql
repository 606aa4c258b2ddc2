-- The first conversation was answered.

update conversation set answered_at = opened_at + 60000 where id = 201;

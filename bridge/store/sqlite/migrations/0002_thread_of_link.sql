-- The threads of a conversation, former ones too: they are read again after a break.
create index thread_of_link on thread (link);

-- What was given up is found by its conversation: where the thread goes, no part of it counts any more.
drop index delivery_dead;
create index delivery_dead on delivery (destination, conversation) where state = 'dead';

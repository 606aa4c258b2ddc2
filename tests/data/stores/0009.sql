-- Staff have seen the first message.

update visitor set seen = 3 where id = 101;

-- What waits on Telegram was refused together with another.

update delivery set apart = 1 where id = 14;

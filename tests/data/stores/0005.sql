-- One destination cannot be used.

insert into lane_down (destination, reason) values ('telegram:-100', 'the bot is no member of the group');

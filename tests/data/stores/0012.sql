-- Staff at Slack were told of it.

insert into lane_told (lane, destination) values ('telegram:-100', 'slack');

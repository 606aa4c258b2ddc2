-- Where staff were told that a way is down: once in each outage.
create table lane_told (
    lane text not null, -- the destination that is down
    destination text not null,
    primary key (lane, destination)
) without rowid;

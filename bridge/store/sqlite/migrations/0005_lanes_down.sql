-- The ways to destinations that cannot be used, and why: a start probes them rather than sending all that waits.
create table lane_down (
    destination text primary key,
    reason text not null
) without rowid;

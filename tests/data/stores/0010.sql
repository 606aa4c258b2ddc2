-- What waits on Telegram had no answer twice, and met a defect.

update delivery set unanswered = 2, defects = 1, state = 'uncertain', claim = 14,
    plan = '{"members":[14],"parts":[[{"delivery":14,"start":0,"end":18,"attachment":null}]]}' where id = 14;

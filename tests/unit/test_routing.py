"""Where conversations go."""

from __future__ import annotations

import math
from collections import Counter

from bridge.model import AdapterName, ConversationId, Destination, Site, SiteKey
from bridge.routing import destinations

ONE, TWO, THREE = (Destination(AdapterName("telegram"), channel) for channel in ("-1", "-2", "-3"))
DESK = Destination(AdapterName("desk"))
SITE = Site(SiteKey("shop"), "Shop", frozenset(), ((ONE, TWO, THREE), (DESK,)))


def test_a_new_conversation_goes_where_there_is_room() -> None:
    load = {ONE: 20.0, TWO: 3.0, THREE: math.inf}
    assert all(destinations(SITE, ConversationId(id), (), load) == (TWO, DESK) for id in range(6))


def test_a_conversation_stays_where_it_is() -> None:
    load = {ONE: 20.0, TWO: 3.0, THREE: math.inf}
    assert destinations(SITE, ConversationId(1), {THREE, DESK}, load) == (THREE, DESK)


def test_among_equals_conversations_spread_evenly() -> None:
    chosen = Counter(destinations(SITE, ConversationId(id), (), {})[0] for id in range(9))
    assert chosen == {ONE: 3, TWO: 3, THREE: 3}


def test_destinations_that_all_are_down_take_their_turns_still() -> None:
    load = dict.fromkeys((ONE, TWO, THREE), math.inf)
    assert len({destinations(SITE, ConversationId(id), (), load)[0] for id in range(3)}) == 3

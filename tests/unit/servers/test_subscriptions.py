from __future__ import annotations

from thingpass.mqtt.packets import Subscription
from thingpass.servers.subscriptions import Subscriptions

ATTRIBUTES = "v1/devices/me/attributes"
RPC = "v1/devices/me/rpc/request/+"


def test_each_filter_has_its_code_in_order() -> None:
    asked = (Subscription(ATTRIBUTES, 0), Subscription("#", 1), Subscription(RPC, 2))
    assert Subscriptions().subscribe(asked) == [0, 0x8F, 1]


def test_a_message_goes_at_the_qos_of_the_filter_that_matches() -> None:
    subscriptions = Subscriptions()
    subscriptions.subscribe((Subscription(ATTRIBUTES, 0), Subscription(RPC, 0)))
    assert subscriptions.qos_for(ATTRIBUTES) == 0
    assert subscriptions.qos_for("v1/devices/me/rpc/request/7") == 0
    assert subscriptions.qos_for("v1/devices/me/attributes/response/1") == 1


def test_unsubscribing_says_whether_there_was_a_subscription() -> None:
    subscriptions = Subscriptions()
    subscriptions.subscribe((Subscription(ATTRIBUTES, 1),))
    assert subscriptions.unsubscribe((ATTRIBUTES, ATTRIBUTES)) == [0, 0x11]

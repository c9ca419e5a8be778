from __future__ import annotations

from thingpass.mqtt.packets import Subscription
from thingpass.servers.device_messages import HANDLERS, REQUEST_HANDLERS
from thingpass.servers.device_topics import Purpose
from thingpass.servers.device_transport import make_transport
from thingpass.servers.device_transports import DEFAULT
from thingpass.servers.protobuf_payloads import WITHOUT_SCHEMAS
from thingpass.servers.subscriptions import MOST_SUBSCRIPTIONS, Subscriptions

ATTRIBUTES = "v1/devices/me/attributes"
RPC = "v1/devices/me/rpc/request/+"
CUSTOM = make_transport(HANDLERS, REQUEST_HANDLERS, protobuf=WITHOUT_SCHEMAS, attribute_filter="my/+/set")


def subscribe(subscriptions: Subscriptions, *filters: str, qos: int = 1, transport=DEFAULT) -> list[int]:
    return subscriptions.subscribe([Subscription(one, qos) for one in filters], transport)


def test_each_filter_has_its_code_in_order() -> None:
    asked = (Subscription(ATTRIBUTES, 0), Subscription("#", 1), Subscription(RPC, 2))
    assert Subscriptions().subscribe(asked, DEFAULT) == [0, 0x8F, 1]


def test_a_message_goes_at_the_qos_of_the_filter_that_matches() -> None:
    subscriptions = Subscriptions()
    subscribe(subscriptions, ATTRIBUTES, RPC, "v2/fw/response/+/chunk/+", qos=0)
    assert subscriptions.qos_for(ATTRIBUTES) == 0
    assert subscriptions.qos_for("v1/devices/me/rpc/request/7") == 0
    assert subscriptions.qos_for("v2/fw/response/1/chunk/2") == 0
    assert subscriptions.qos_for("v1/devices/me/attributes/response/1") == 1


def test_unsubscribing_says_whether_there_was_a_subscription() -> None:
    subscriptions = Subscriptions()
    subscribe(subscriptions, ATTRIBUTES)
    assert subscriptions.unsubscribe((ATTRIBUTES, ATTRIBUTES)) == [0, 0x11]


def test_the_family_subscribed_last_is_the_one_that_is_used() -> None:
    subscriptions = Subscriptions()
    assert subscriptions.find(Purpose.ATTRIBUTES, DEFAULT) is None
    subscribe(subscriptions, ATTRIBUTES, "v2/a/p", RPC)
    subscribe(subscriptions, "v2/a/j", qos=0)
    found = subscriptions.find(Purpose.ATTRIBUTES, DEFAULT)
    assert found is not None
    assert (found[0].send, found[1]) == ("v2/a/j", 0)
    subscribe(subscriptions, ATTRIBUTES)  # once more
    found = subscriptions.find(Purpose.ATTRIBUTES, DEFAULT)
    assert found is not None
    assert (found[0].send, found[1]) == (ATTRIBUTES, 1)
    subscriptions.unsubscribe((ATTRIBUTES, "v2/a/j"))
    found = subscriptions.find(Purpose.ATTRIBUTES, DEFAULT)
    assert found is not None
    assert found[0].send == "v2/a/p"
    assert subscriptions.find(Purpose.RPC_TO_DEVICE, DEFAULT) is not None


def test_a_custom_filter_switches_pushes_on_where_thingsboard_sends_them() -> None:
    subscriptions = Subscriptions()
    assert subscribe(subscriptions, "my/1/set", "my/+/set", "my/2", qos=0, transport=CUSTOM) == [0, 0, 0x8F]
    assert subscribe(subscriptions, "my/1/set") == [0x8F]
    found = subscriptions.find(Purpose.ATTRIBUTES, CUSTOM)
    assert found is not None
    assert (found[0].send, found[1]) == (ATTRIBUTES, 0)
    assert subscriptions.unsubscribe(("my/1/set", "my/+/set")) == [0, 0]
    assert subscriptions.find(Purpose.ATTRIBUTES, CUSTOM) is None


def test_one_connection_has_so_many_subscriptions() -> None:
    subscriptions = Subscriptions()
    filters = [f"v1/devices/me/rpc/response/{number}" for number in range(MOST_SUBSCRIPTIONS)]
    assert set(subscribe(subscriptions, *filters)) == {1}
    assert subscribe(subscriptions, ATTRIBUTES, filters[0]) == [0x97, 1]
    subscriptions.unsubscribe(filters[:1])
    assert subscribe(subscriptions, ATTRIBUTES) == [1]

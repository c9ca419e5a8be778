from __future__ import annotations

import typing

import msgspec
import pytest

from thingpass.bus.messages import MESSAGES, Message

_EXAMPLES: dict[object, object] = {str: "text", int: 7, bool: True, tuple[str, ...]: ("a", "b")}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_message_survives_encoding_for_other_nodes(kind: type[Message]) -> None:
    hints = typing.get_type_hints(kind)
    message = kind(**{field.name: _EXAMPLES[hints[field.name]] for field in msgspec.structs.fields(kind)})
    encoded = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(encoded, type=typing.Union[MESSAGES]) == message  # noqa: UP007 (built from a tuple)


def test_every_message_has_its_own_tag() -> None:
    tags = [kind.__struct_config__.tag for kind in MESSAGES]
    assert len(set(tags)) == len(tags)
    assert all(isinstance(tag, str) and tag == tag.lower() for tag in tags)

"""ThingsBoard's device JSON <-> samples, values and keys (device API reference, 2.4 to 2.7).

The hot path is one call of msgspec and one look at each value, in the dictionary that msgspec made. Numbers
keep their spelling until here, because `1.0` is a DOUBLE and `1e0` a LONG: the decoder hands every number
with a point or an exponent to `number_value` as text. Only objects and arrays, kept as text, are read again.

Deviates: JSON is strict (RFC 8259) where ThingsBoard's parser is lenient, and sizes are bounded; the list is
in docs/reference/telemetry-values.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from thingpass.servers.payload_faults import (
    DEEPEST_NESTING,
    MOST_DIGITS,
    PayloadInvalid,
    kind_words,
    not_json,
    shown,
)
from thingpass.store.rows import Attribute, JsonText, Sample, Value

LONGEST_KEY: Final = 255
"""Characters; ThingsBoard's bound."""

MOST_VALUES: Final = 10_000
"""Values in one message. A full packet of 64 KiB can hold 13,000 of the shortest."""

LATEST_TS_MS: Final = 8_640_000_000_000_000
"""100,000,000 days either side of 1970: the last moment of an ECMAScript date, in the year 275760."""

_SMALLEST_LONG: Final = -(2**63)
_LARGEST_LONG: Final = 2**63 - 1
_MOST_DECIMALS: Final = 16
_SAFE_LENGTH: Final = 18  # "0." and 16 decimals: no shorter number has more decimals than that
_TOO_LARGE: Final = 10**MOST_DIGITS

# commons-lang3 NumberUtils.isParsable: digits of any script, one point that is not the last, one minus.
_PARSABLE: Final = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+)")
_WHOLE: Final = re.compile(r"[+-]?\d{1,19}")
_NUL: Final = b"\\u0000"


class NumberText(str):
    """A number that is stored as text, because no 64 bits hold it as it was sent; ends as a plain string."""

    __slots__ = ()


class AttributeRequest(msgspec.Struct, frozen=True):
    """Which attributes a device asks for; keys None means all of that scope."""

    wants_client: bool
    wants_shared: bool
    client_keys: tuple[str, ...] | None = None
    shared_keys: tuple[str, ...] | None = None


_Members: TypeAlias = dict[str, Any]
"""An object as msgspec makes it; what may be in it is JSON. Does not leave this file."""


# Telemetry


def parse_telemetry(payload: bytes, now_ms: int) -> list[Sample]:
    """The samples of a telemetry message, in its order; none for `[]`, `{}` and samples of nulls only.

    `now_ms` is the time of samples that bring none, milliseconds since 1970. Raises PayloadInvalid and
    nothing else, whatever the bytes are.
    """
    try:
        document = _decode(payload)
    except PayloadInvalid:
        raise
    except Exception as error:  # msgspec, UTF-8, recursion: each is a fault of the payload
        raise not_json(payload, error) from None
    if type(document) is dict:
        if "values" not in document and len(payload) <= LONGEST_KEY and _is_plain(document, payload):
            return [Sample(now_ms, document)] if document else []
        ts_ms, values, nested = _element(document, now_ms, payload, None)
        if nested:
            _keep_texts(values, nested, payload if values is document else _text_of_values(payload))
        return [Sample(ts_ms, values)] if values else []
    if type(document) is list:
        return _samples(document, now_ms, payload)
    raise PayloadInvalid(f"Telemetry is an object or an array of objects, not {kind_words(document)}.")


def _is_plain(members: _Members, payload: bytes) -> bool:
    """Whether every value is stored as msgspec made it; the common case, so it is asked first."""
    for value in members.values():
        kind = type(value)
        if kind is float or kind is bool:
            continue
        if kind is int:
            if _SMALLEST_LONG <= value <= _LARGEST_LONG:
                continue
        elif kind is str and ":" <= value < "\x80":  # begins with a letter or the like: no number
            continue
        return False
    return _NUL not in payload


def _samples(elements: list[Any], now_ms: int, payload: bytes) -> list[Sample]:
    samples: list[Sample] = []
    texts: list[msgspec.Raw] = []
    count = 0
    for index, members in enumerate(elements):
        if type(members) is not dict:
            raise PayloadInvalid(f"Element {index + 1} of the array is {kind_words(members)}, not an object.")
        ts_ms, values, nested = _element(members, now_ms, payload, index)
        if nested:
            texts = texts or _decode_texts(payload)
            text = bytes(texts[index])
            _keep_texts(values, nested, text if values is members else _text_of_values(text))
        if values:
            count += len(values)
            samples.append(Sample(ts_ms, values))
    if count > MOST_VALUES:
        raise PayloadInvalid(f"The message has {count} values; {MOST_VALUES} are taken at a time.")
    return samples


def _element(
    members: _Members, now_ms: int, payload: bytes, index: int | None
) -> tuple[int, _Members, list[str]]:
    """One element's time, values, and the keys of those that are objects or arrays."""
    if "values" in members and "ts" in members:
        values = members["values"]
        if type(values) is not dict:
            raise PayloadInvalid(f"`values`{_place(index)} is {kind_words(values)}, not an object.")
        return _ts_ms(members["ts"], index), values, _map_values(values, payload)
    return now_ms, members, _map_values(members, payload)


def _ts_ms(ts: Any, index: int | None) -> int:
    """Device API reference, 2.4: an integer, a decimal (truncated), or a string of digits."""
    kind = type(ts)
    if kind is int:
        ts_ms: int = ts
    elif kind is float:
        ts_ms = int(ts)
    elif kind is NumberText:
        ts_ms = int(Decimal(ts))
    elif kind is str and _WHOLE.fullmatch(ts):
        ts_ms = int(ts)
    else:
        seen = shown(ts) if kind is str else kind_words(ts)
        raise PayloadInvalid(f"`ts`{_place(index)} is {seen}, not milliseconds since 1970.")
    if not -LATEST_TS_MS <= ts_ms <= LATEST_TS_MS:
        raise PayloadInvalid(
            f"`ts`{_place(index)} lies beyond {LATEST_TS_MS} ms.",
            mend="Send milliseconds since 1970, in UTC.",
        )
    return ts_ms


def _place(index: int | None) -> str:
    return "" if index is None else f" of element {index + 1}"


def _text_of_values(text: bytes) -> bytes:
    return bytes(_decode_members(text)["values"])


# Attributes


def parse_attributes(payload: bytes) -> dict[str, Value]:
    """The attributes that a device publishes, mapped like telemetry. Raises PayloadInvalid only."""
    try:
        members = _decode(payload)
    except PayloadInvalid:
        raise
    except Exception as error:  # msgspec, UTF-8, recursion: each is a fault of the payload
        raise not_json(payload, error) from None
    if type(members) is not dict:
        raise PayloadInvalid(f"Attributes are one object, not {kind_words(members)}.")
    nested = _map_values(members, payload)
    if nested:
        _keep_texts(members, nested, payload)
    return members


def parse_attribute_request(payload: bytes) -> AttributeRequest:
    """`{"clientKeys":"a,b","sharedKeys":"c"}`; `{}` asks for everything (2.6). Raises PayloadInvalid."""
    members = _spelled_object(payload, "An attribute request")
    wants_client, wants_shared = "clientKeys" in members, "sharedKeys" in members
    if not (wants_client or wants_shared):
        return AttributeRequest(True, True)
    return AttributeRequest(
        wants_client,
        wants_shared,
        _keys(members, "clientKeys") if wants_client else None,
        _keys(members, "sharedKeys") if wants_shared else None,
    )


def attribute_response(
    client: Iterable[Attribute] | None = None, shared: Iterable[Attribute] | None = None
) -> bytes:
    """The answer to an attribute request; a scope in which nothing was found is left out (2.6)."""
    scopes = {
        name: found
        for name, attributes in (("client", client), ("shared", shared))
        if (found := {each.key: json_value(each.value) for each in attributes or ()})
    }
    return msgspec.json.encode(scopes)


def attributes_update(values: Mapping[str, Value]) -> bytes:
    """What a device is told of shared attributes that were saved: the changed ones, flat (2.6)."""
    return msgspec.json.encode({key: json_value(value) for key, value in values.items()})


def attributes_removal(keys: Iterable[str]) -> bytes:
    """What a device is told of shared attributes that were removed (2.6)."""
    return msgspec.json.encode({"deleted": list(keys)})


def attributes_change(saved: Mapping[str, Value], removed: Iterable[str]) -> bytes:
    """Both in one answer, as a device gets them that asks over HTTP."""
    change: dict[str, Any] = {key: json_value(value) for key, value in saved.items()}
    if removed := list(removed):
        change["deleted"] = removed
    return msgspec.json.encode(change)


# RPC


def parse_rpc_method(payload: bytes) -> str:
    """The method that a device calls on the server (2.7). Raises PayloadInvalid."""
    members = _spelled_object(payload, "A call")
    if "method" not in members:
        raise PayloadInvalid("The call has no `method`.")
    return _text(members["method"], "method")


def rpc_request(method: str, params_json: str) -> bytes:
    """A call to the device (2.7); the parameters are put in as they are."""
    return msgspec.json.encode({"method": method, "params": msgspec.Raw(params_json.encode())})


def rpc_request_with_id(request_id: int, method: str, params_json: str) -> bytes:
    """The same over HTTP, where no topic has the id (6)."""
    params = msgspec.Raw(params_json.encode())
    return msgspec.json.encode({"id": request_id, "method": method, "params": params})


# Values


def number_value(text: str) -> Value:
    """A JSON number with a point or an exponent, by the table of 2.4 (BigDecimal's rules)."""
    exponent = "e" in text or "E" in text
    if not exponent and len(text) <= _SAFE_LENGTH:
        return float(text) + 0.0  # BigDecimal knows no -0.0
    if len(text) > 2 * MOST_DIGITS:
        raise _too_many_digits()
    # The exponent is looked at first: Decimal takes 18 digits of it, and no more.
    mantissa, _, power = text.lower().partition("e")
    if len(power.lstrip("+-").lstrip("0")) > 6:
        if mantissa.strip("-0."):
            raise _too_many_digits()
        return 0
    return _decimal_value(text, Decimal(text), exponent)


def _decimal_value(text: str, number: Decimal, exponent: bool) -> Value:
    """The number by its exact digits: LONG, DOUBLE, or text where neither holds it."""
    _, digits, power = number.as_tuple()
    assert isinstance(power, int)
    decimals = max(0, -power)  # BigDecimal.scale, where it matters
    if not any(digits):
        is_whole = True
    elif max(len(digits) + power, len(digits), decimals + 1) > MOST_DIGITS:
        raise _too_many_digits()
    else:
        is_whole = decimals < len(digits) and not any(digits[len(digits) - decimals :])
    if is_whole and exponent:
        whole = int(number) if any(digits) else 0
        return whole if _SMALLEST_LONG <= whole <= _LARGEST_LONG else NumberText(whole)
    if decimals > _MOST_DECIMALS:
        return NumberText(format(number, "f") if any(digits) else text.lstrip("-"))
    value = float(text)
    if abs(value) == float("inf"):
        raise PayloadInvalid("A number is larger than a DOUBLE can be.", mend="Send it as a string.")
    return value + 0.0


def text_value(text: str) -> Value:
    """A JSON string: a number when it looks like one (NumberUtils.isParsable), else itself (2.4)."""
    if len(text) > MOST_DIGITS or not _PARSABLE.fullmatch(text):
        return text
    if not text.isascii() and max(text) > "\uffff":
        return text  # Java looks at halves of such characters and finds no digits
    whole, point, decimals = text.partition(".")
    if not point:
        number = int(whole)
        return number if _SMALLEST_LONG <= number <= _LARGEST_LONG else text
    value = float(text)
    return value + 0.0 if len(decimals) <= _MOST_DECIMALS and abs(value) != float("inf") else text


def json_value(value: Value) -> Value | msgspec.Raw:
    """A value as `msgspec.json.encode` takes it: a JSON value is put in as it is."""
    return msgspec.Raw(value.encode()) if isinstance(value, JsonText) else value


def _map_values(members: _Members, payload: bytes) -> list[str]:
    """Maps the values in place by the table of 2.4; gives the keys whose values are objects or arrays."""
    if len(payload) > LONGEST_KEY or _NUL in payload:
        _check_bounds(members)
    nested: list[str] = []
    if _is_plain(members, b""):
        return nested
    for key, value in members.items():
        kind = type(value)
        if kind is str:
            members[key] = text_value(value)
        elif kind is int and not _SMALLEST_LONG <= value <= _LARGEST_LONG:
            members[key] = _large_whole(value)
        elif kind is NumberText:
            members[key] = str(value)
        elif kind is dict or kind is list:
            nested.append(key)
    for key in [key for key, value in members.items() if value is None]:
        del members[key]
    return nested


def _large_whole(number: int) -> str:
    if abs(number) >= _TOO_LARGE:
        raise _too_many_digits()
    return str(number)


def _check_bounds(members: _Members) -> None:
    if len(members) > MOST_VALUES:
        raise PayloadInvalid(f"The message has {len(members)} values; {MOST_VALUES} are taken at a time.")
    for key in members:
        if len(key) > LONGEST_KEY:
            raise PayloadInvalid(
                f"The key {shown(key)} has {len(key)} characters; {LONGEST_KEY} are taken at most."
            )
        if "\x00" in key:
            raise PayloadInvalid(f"The key {shown(key)} contains the character U+0000.")


def _keep_texts(members: _Members, nested: list[str], text: bytes) -> None:
    """Puts objects and arrays in as text: numbers as they were spelled, white space left out."""
    texts = _decode_members(text)
    for key in nested:
        if _depth(members[key]) >= DEEPEST_NESTING:
            raise PayloadInvalid(f"The value of {shown(key)} is nested deeper than {DEEPEST_NESTING} levels.")
        members[key] = JsonText(msgspec.json.format(bytes(texts[key]), indent=-1).decode())


def _depth(value: Any) -> int:
    """How many objects and arrays lie within each other, itself counted; counts no further than the bound."""
    level, depth = [value], 0
    while depth < DEEPEST_NESTING:
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        depth += 1
        if not level:
            break
    return depth


def _too_many_digits() -> PayloadInvalid:
    return PayloadInvalid(
        f"A number written out has more than {MOST_DIGITS} digits.", mend="Send it as a string."
    )


# Small objects in which numbers count as their text


def _spelled_object(payload: bytes, what: str) -> _Members:
    try:
        members = _decode_spelled(payload)
    except Exception as error:  # msgspec, UTF-8, recursion: each is a fault of the payload
        raise not_json(payload, error) from None
    if type(members) is not dict:
        raise PayloadInvalid(f"{what} is one object, not {kind_words(members)}.")
    return members


def _keys(members: _Members, name: str) -> tuple[str, ...]:
    # Not trimmed: `a, b` asks for `a` and ` b`.
    return tuple(dict.fromkeys(_text(members[name], name).split(",")))


def _text(value: Any, name: str) -> str:
    """Gson's getAsString: text, a number or boolean as its text, an array of one as what is in it."""
    while type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    raise PayloadInvalid(f"`{name}` is {kind_words(value)}, not text.")


_decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(float_hook=number_value).decode
_decode_spelled: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(float_hook=str).decode
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_texts: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.devices.provisioning import NotProvisioned, Provisioned
from thingpass.servers.device_payloads_onboarding import (
    ClaimOffer,
    ProvisionRequestInvalid,
    parse_claim,
    parse_provision_request,
    provision_response,
)
from thingpass.servers.payload_faults import PayloadInvalid
from thingpass.store.rows import Credentials

MINIMAL = {"provisionDeviceKey": "k", "provisionDeviceSecret": "s"}


def encoded(**members: object) -> bytes:
    return json.dumps({**MINIMAL, **members}).encode()


def credentials(kind: str, value: str | None = None) -> Credentials:
    return Credentials(
        id="1", created_at_ms=1, device_id="2", kind=kind, credentials_id="THE-ID", credentials_value=value
    )


class TestProvisionRequest:
    def test_every_member_has_its_place(self) -> None:
        request = parse_provision_request(
            encoded(
                deviceName="d",
                credentialsType="MQTT_BASIC",
                token="t",
                clientId="c",
                username="u",
                password="p",
                hash="h",
                gateway=True,
            )
        )
        assert (request.key, request.secret, request.device_name, request.kind) == (
            "k",
            "s",
            "d",
            "MQTT_BASIC",
        )
        assert (request.token, request.client_id, request.user_name) == ("t", "c", "u")
        assert (request.password, request.certificate, request.is_gateway) == ("p", "h", True)

    @pytest.mark.parametrize(
        "name",
        ["deviceName", "credentialsType", "token", "clientId", "username", "password", "hash", "gateway"],
    )
    def test_null_is_absent(self, name: str) -> None:
        request = parse_provision_request(encoded(**{name: None}))
        assert request == parse_provision_request(encoded())
        assert request.kind == "ACCESS_TOKEN"

    @pytest.mark.parametrize(("given_name", "name"), [(5, "5"), (True, "true")])
    def test_numbers_and_booleans_are_their_text(self, given_name: object, name: str) -> None:
        assert parse_provision_request(encoded(deviceName=given_name)).device_name == name

    @pytest.mark.parametrize(
        ("members", "sentence"),
        [
            ({"provisionDeviceKey": None}, "The request has no `provisionDeviceKey`."),
            ({"provisionDeviceSecret": None}, "The request has no `provisionDeviceSecret`."),
            ({"credentialsType": "PSK"}, "`credentialsType` is 'PSK'."),
            ({"deviceName": {}}, "`deviceName` is an object, not text."),
            ({"token": ["a"]}, "`token` is an array of 1, not text."),
            ({"gateway": 1.5}, "`gateway` is a number, not text."),
            ({"hash": "x" * 70_000}, "`hash` has more than 65536 characters."),
        ],
    )
    def test_what_is_no_request(self, members: dict[str, object], sentence: str) -> None:
        with pytest.raises(ProvisionRequestInvalid) as caught:
            parse_provision_request(encoded(**members))
        assert caught.value.sentence == sentence

    @pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'"x"', b"\xff", b"\x0a\x05hello", b"[" * 9_000])
    def test_what_is_no_object(self, payload: bytes) -> None:
        with pytest.raises(PayloadInvalid):
            parse_provision_request(payload)

    @given(st.binary() | st.dictionaries(st.text(), st.none() | st.text() | st.integers()).map(json.dumps))
    def test_nothing_else_is_raised(self, payload: bytes | str) -> None:
        for parse in (parse_provision_request, parse_claim):
            try:
                parse(payload if isinstance(payload, bytes) else payload.encode())
            except (PayloadInvalid, ProvisionRequestInvalid):
                pass


class TestProvisionResponse:
    """Letter by letter as the reference has them (2.9)."""

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (
                Provisioned(credentials("ACCESS_TOKEN")),
                '{"credentialsValue":"THE-ID","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}',
            ),
            (
                Provisioned(credentials("MQTT_BASIC", '{"clientId":"c","userName":"u","password":"p"}')),
                '{"credentialsValue":{"clientId":"c","userName":"u","password":"p"},'
                '"credentialsType":"MQTT_BASIC","status":"SUCCESS"}',
            ),
            (
                Provisioned(credentials("X509_CERTIFICATE", "MIIB")),
                '{"credentialsValue":"MIIB","credentialsType":"X509_CERTIFICATE","status":"SUCCESS"}',
            ),
            (
                NotProvisioned("NOT_FOUND"),
                '{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}',
            ),
            (NotProvisioned("FAILURE"), '{"errorMsg":"Failed to provision device!","status":"FAILURE"}'),
            (
                NotProvisioned("FAILURE", "Because."),
                '{"errorMsg":"Failed to provision device!","status":"FAILURE","reason":"Because."}',
            ),
        ],
    )
    def test_answer(self, answer: Provisioned | NotProvisioned, text: str) -> None:
        assert provision_response(answer).decode() == text


class TestClaim:
    @pytest.mark.parametrize(
        ("payload", "offer"),
        [
            (b"", ClaimOffer()),
            (b" ", ClaimOffer()),
            (b"{}", ClaimOffer()),
            (b'{"secretKey":"s","durationMs":5}', ClaimOffer("s", 5)),
            (b'{"secretKey":null,"durationMs":null}', ClaimOffer()),
            (b'{"secretKey":1234}', ClaimOffer("1234")),
            (b'{"durationMs":"60000"}', ClaimOffer("", 60_000)),
            (b'{"durationMs":6e4}', ClaimOffer("", 60_000)),
            (b'{"durationMs":-7}', ClaimOffer("", -1)),
            (b'{"durationMs":1e300}', ClaimOffer("", 2**62)),
        ],
    )
    def test_offers(self, payload: bytes, offer: ClaimOffer) -> None:
        assert parse_claim(payload) == offer
        assert "s'" not in repr(offer)

    @pytest.mark.parametrize(
        "payload",
        [
            b"[]",
            b"x",
            b'{"secretKey":{}}',
            b'{"durationMs":"soon"}',
            b'{"durationMs":true}',
            b'{"durationMs":[]}',
            b'{"secretKey":"%s"}' % (b"x" * 1_001),
        ],
    )
    def test_what_is_none(self, payload: bytes) -> None:
        with pytest.raises(PayloadInvalid):
            parse_claim(payload)

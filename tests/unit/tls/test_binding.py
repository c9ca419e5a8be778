"""Both channels do the same, against the standard library's client (another build of OpenSSL)."""

from __future__ import annotations

import select
import ssl
import threading
import warnings
from pathlib import Path

import pytest

from tests.unit.tls.peers import (
    client_context,
    connected,
    finish_handshake,
    read_some,
    server_context,
    server_identity,
    wait_for_tls,
    write_client_pair,
)
from thingpass.tls import binding
from thingpass.tls.binding import (
    READ_BYTES,
    RECORD_BYTES,
    RECORDS_PER_READ,
    Channel,
    ChannelFailed,
    DirectChannel,
    PeerGone,
    PublicChannel,
    channel_factory,
)
from thingpass.tls.evidence import gather_evidence

IDENTITY = server_identity()


@pytest.fixture(params=[PublicChannel, DirectChannel])
def factory(request: pytest.FixtureRequest) -> type:
    return request.param


def test_the_quicker_channel_is_used_with_the_pinned_binding() -> None:
    assert channel_factory is DirectChannel


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_data_goes_both_ways(factory: type, version: ssl.TLSVersion) -> None:
    with connected(factory, server_context(IDENTITY), client_context(IDENTITY, version=version)) as (
        channel,
        peer,
    ):
        finish_handshake(channel)
        tls = wait_for_tls(peer)
        assert channel.read() is None
        tls.sendall(b"ping")
        assert read_some(channel) == b"ping"
        assert channel.write(b"pong") == 4
        assert tls.recv(10) == b"pong"


def test_records_that_came_together_are_read_together(factory: type) -> None:
    with connected(factory, server_context(IDENTITY), client_context(IDENTITY)) as (channel, peer):
        finish_handshake(channel)
        tls = wait_for_tls(peer)
        for number in range(5):
            tls.sendall(b"%d" % number)
        assert read_some(channel) == b"01234"
        assert not channel.pending()
        assert channel.read() is None


@pytest.mark.parametrize(("record", "count"), [(b"x", 3 * RECORDS_PER_READ), (b"x" * RECORD_BYTES, 8)])
def test_one_read_takes_a_bounded_part(factory: type, record: bytes, count: int) -> None:
    with connected(factory, server_context(IDENTITY), client_context(IDENTITY)) as (channel, peer):
        finish_handshake(channel)
        tls = wait_for_tls(peer)
        # In a thread: a pair of sockets holds less than this.
        sender = threading.Thread(target=lambda: [tls.sendall(record) for _ in range(count)])
        sender.start()
        left = count * len(record)
        while left:
            taken = len(read_some(channel))
            assert 0 < taken <= min(READ_BYTES, RECORDS_PER_READ * len(record))
            left -= taken
        sender.join()


def test_what_comes_behind_data_is_told_by_the_next_read(factory: type) -> None:
    with connected(factory, server_context(IDENTITY), client_context(IDENTITY)) as (channel, peer):
        finish_handshake(channel)
        tls = wait_for_tls(peer)
        tls.sendall(b"the last word")
        tls.settimeout(0.2)
        try:
            tls.unwrap()
        except OSError:
            pass  # nobody answers its goodbye here
        assert read_some(channel) == b"the last word"
        assert channel.pending(), "the socket does not become readable for it again"
        assert channel.read() == b""
        assert channel.read() == b""


def test_a_peer_that_vanishes_behind_data_is_gone(factory: type) -> None:
    with connected(factory, server_context(IDENTITY), client_context(IDENTITY)) as (channel, peer):
        finish_handshake(channel)
        tls = wait_for_tls(peer)
        tls.sendall(b"the last word")
        tls.close()
        assert read_some(channel) == b"the last word"
        assert channel.pending()
        with pytest.raises(PeerGone):
            channel.read()


def test_goodbye_reads_as_the_end(factory: type) -> None:
    with connected(factory, server_context(IDENTITY), client_context(IDENTITY)) as (channel, peer):
        finish_handshake(channel)
        tls = wait_for_tls(peer)
        tls.settimeout(0.2)
        try:
            tls.unwrap()
        except OSError:
            pass  # nobody answers its goodbye here
        assert read_some(channel) == b""
        channel.shutdown()


def test_a_peer_that_vanishes_is_gone(factory: type) -> None:
    with connected(factory, server_context(IDENTITY), client_context(IDENTITY)) as (channel, peer):
        finish_handshake(channel)
        wait_for_tls(peer).close()
        with pytest.raises(PeerGone):
            read_some(channel)


def test_a_socket_that_takes_no_more_takes_nothing(factory: type) -> None:
    with connected(factory, server_context(IDENTITY), client_context(IDENTITY)) as (channel, peer):
        finish_handshake(channel)
        tls = wait_for_tls(peer)
        block = b"z" * RECORD_BYTES
        sent = 0
        while (taken := channel.write(block)) > 0:
            sent += taken
        assert sent > 0
        received = 0
        while received < sent:
            received += len(tls.recv(65_536))
        select.select([], [channel.connection.fileno()], [], 1)
        # OpenSSL holds one finished record that it could not send: it goes out with the next call.
        assert channel.write(block) == RECORD_BYTES


def finish_and_read(channel: Channel) -> bytes:
    """A client of TLS 1.3 judges the server when we are done: its alert comes with the first read."""
    finish_handshake(channel)
    return read_some(channel)


def test_a_client_that_does_not_trust_the_server_says_so_by_its_alert(factory: type) -> None:
    with connected(factory, server_context(IDENTITY), client_context(None)) as (channel, _):
        with pytest.raises(ChannelFailed) as failed:
            finish_and_read(channel)
        assert failed.value.alert == "unknown ca"


def test_a_client_of_an_older_version_is_named(factory: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = client_context(IDENTITY, version=ssl.TLSVersion.TLSv1_1)
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    with connected(factory, server_context(IDENTITY), client) as (channel, _):
        with pytest.raises(ChannelFailed) as failed:
            finish_handshake(channel)
        assert failed.value.reason == "unsupported protocol"
        assert failed.value.alert is None


def test_a_lower_floor_lets_older_boards_in(factory: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = client_context(IDENTITY, version=ssl.TLSVersion.TLSv1_1)
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    with connected(factory, server_context(IDENTITY, "1.0"), client) as (channel, peer):
        finish_handshake(channel)
        assert wait_for_tls(peer).version() == "TLSv1.1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_any_client_certificate_passes_and_is_evidence(
    factory: type, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    pair = write_client_pair(tmp_path)
    client = client_context(IDENTITY, pair=pair, version=version)
    with connected(factory, server_context(IDENTITY), client) as (channel, peer):
        finish_handshake(channel)
        wait_for_tls(peer)
        evidence = gather_evidence(
            channel.connection, listener="mqtts", peer_address="192.0.2.1", peer_port=1
        )
        assert binding._presented_chain(channel.connection) == evidence.chain_der, "the other way to it"
    sent = ssl.PEM_cert_to_DER_cert(pair.read_text()[pair.read_text().index("-----BEGIN CERT") :])
    assert evidence.chain_der == (sent,)
    assert evidence.tls_version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    assert evidence.cipher
    assert evidence.server_name == "localhost"
    assert not evidence.resumed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_carries_the_client_certificate(
    factory: type, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    context = server_context(IDENTITY)
    client = client_context(IDENTITY, pair=write_client_pair(tmp_path), version=version)
    with connected(factory, context, client) as (channel, peer):
        finish_handshake(channel)
        tls = wait_for_tls(peer)
        channel.write(b"x")
        assert tls.recv(1) == b"x"  # TLS 1.3 sends its tickets behind the handshake
        session = tls.session
        first = gather_evidence(channel.connection, listener="mqtts", peer_address="::1", peer_port=1)
    with connected(factory, context, client, session) as (channel, peer):
        finish_handshake(channel)
        wait_for_tls(peer)
        again = gather_evidence(channel.connection, listener="mqtts", peer_address="::1", peer_port=1)
    assert again.resumed
    assert again.chain_der == first.chain_der


def test_a_failure_leaves_nothing_behind_for_the_next_connection(factory: type) -> None:
    """OpenSSL's error queue belongs to the thread: what is left in it would be blamed on somebody else."""
    test_a_client_that_does_not_trust_the_server_says_so_by_its_alert(factory)
    test_data_goes_both_ways(factory, ssl.TLSVersion.TLSv1_3)

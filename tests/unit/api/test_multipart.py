"""The form of an upload: cut anywhere, broken, and as the standard library's e-mail parser reads it."""

from __future__ import annotations

import email
import email.policy
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingpass.api.multipart import Event, MultipartReader, PartBegan, PartData
from thingpass.errors import Invalid

CONTENT_TYPE = "multipart/form-data; boundary=XyZ"


def part(name: str, data: bytes, file_name: str | None = None) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    if file_name is not None:
        head += f'; filename="{file_name}"\r\nContent-Type: application/octet-stream'
    return b"--XyZ\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"


def read(body: bytes, *cuts: int, content_type: str = CONTENT_TYPE) -> list[Event]:
    """Fed in pieces, with what is of one part put together again."""
    reader = MultipartReader(content_type)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    events: list[Event] = []
    for begin, end in itertools.pairwise(edges):
        for event in reader.feed(body[begin:end]):
            if isinstance(event, PartData) and events and isinstance(events[-1], PartData):
                events[-1] = PartData(events[-1].data + event.data)
            else:
                events.append(event)
    reader.finish()
    return events


def test_file_and_fields() -> None:
    body = (
        part("checksumAlgorithm", b"SHA256") + part("file", b"\x00\r\n--Xy\r\nZ", "fw.bin") + b"--XyZ--\r\n"
    )
    assert read(body) == [
        PartBegan("checksumAlgorithm", None, None),
        PartData(b"SHA256"),
        PartBegan("file", "fw.bin", "application/octet-stream"),
        PartData(b"\x00\r\n--Xy\r\nZ"),
    ]


def test_empty_part_preamble_and_epilogue() -> None:
    body = b"to be ignored\r\n" + part("file", b"", "fw.bin") + b"--XyZ--\r\nto be ignored"
    assert read(body) == [PartBegan("file", "fw.bin", "application/octet-stream")]


def test_space_behind_a_boundary_is_ignored() -> None:
    body = part("a", b"1").replace(b"--XyZ\r\n", b"--XyZ \t\r\n") + b"--XyZ--"
    assert read(body) == [PartBegan("a", None, None), PartData(b"1")]


CONTENT = (st.binary(max_size=200) | st.sampled_from([b"\r\n--Xy", b"\r\n", b"-" * 9])).filter(
    lambda data: b"--XyZ" not in data  # a client chooses a boundary that its content does not have
)


@given(
    contents=st.lists(CONTENT),
    cuts=st.lists(st.integers(0, 2_000), max_size=12),
)
def test_any_content_comes_back_however_it_is_cut(contents: list[bytes], cuts: list[int]) -> None:
    parts = [part(f"p{n}", data, "x") for n, data in enumerate(contents[:20])]
    body = b"".join(parts) + b"--XyZ--\r\n"
    reference = email.message_from_bytes(
        b"Content-Type: " + CONTENT_TYPE.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP
    )
    if not parts:
        assert read(body, *cuts) == []
        return
    events = read(body, *cuts)
    assert events == read(body)
    began = [event for event in events if isinstance(event, PartBegan)]
    assert [event.name for event in began] == [
        found.get_param("name", header="content-disposition") for found in reference.get_payload()
    ]
    expected = [data for data in contents[:20] if data]
    assert [event.data for event in events if isinstance(event, PartData)] == expected


@given(body=st.binary(max_size=400))
def test_rubbish_is_refused_or_read_and_never_more(body: bytes) -> None:
    try:
        read(b"--XyZ\r\n" + body)
    except Invalid:
        pass


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        part("file", b"abc"),  # the last boundary is missing
        part("file", b"abc")[:-4],
        b"--XyZ\r\nContent-Type: text/plain\r\n\r\nabc\r\n--XyZ--",  # no name
        b"--XyZ\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--XyZ--",
        b"--XyZ what is this\r\n\r\n\r\n--XyZ--",
        b"--XyZ\r\n" + b"A: " + b"x" * 9_000,
        b"--XyZ" + b" " * 9_000,
        part("a", b"") * 21 + b"--XyZ--",
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        read(body)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=a",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 71,
    ],
)
def test_other_content_is_refused(content_type: str | None) -> None:
    with pytest.raises(Invalid):
        MultipartReader(content_type)


def test_waiting_bytes_stay_few() -> None:
    reader = MultipartReader(CONTENT_TYPE)
    reader.feed(part("file", b"", "x")[:-2])
    for _ in range(100):
        reader.feed(b"\r\n--Xy" * 10_000)
    assert len(reader._waiting) < 100

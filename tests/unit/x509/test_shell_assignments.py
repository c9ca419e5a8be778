"""Lines with a shell's quoting, read without a shell."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.x509.material import UNHURRIED
from thingpass.x509.errors import PropertiesInvalid
from thingpass.x509.shell_assignments import LARGEST_FILE, read_assignments

SUBSTITUTIONS = {"hostname": lambda: "vm", "hostname -f": lambda: "vm.example"}


def values_of(content: str | bytes) -> dict[str, str]:
    data = content.encode() if isinstance(content, str) else content
    return {one.name: one.value for one in read_assignments(data, "keygen.properties", SUBSTITUTIONS)}


# What a POSIX shell reads from the same line; held against a real one below.
AS_IN_A_SHELL = {
    "A=plain": "plain",
    "A=": "",
    'A=""': "",
    'A="two words"': "two words",
    "A='two words'": "two words",
    "A='$(id) `id` \\n $x'": "$(id) `id` \\n $x",
    'A="a \\"b\\" \\$c \\`d \\\\ \\e"': 'a "b" $c `d \\ \\e',
    "A=a\\ b\\$c\\#": "a b$c#",
    "A=a'b'\"c\"d": "abcd",
    "A=a#b": "a#b",
    "A=a # comment": "a",
    "A= # comment": "",
    "A=#b": "#b",
    'A="a # b"': "a # b",
    "export A=b": "b",
    "A='  kept  '": "  kept  ",
    "A=a=b": "a=b",
    "A=b;": "b;",
}
ONLY_HERE = {
    "CITY=San Francisco": "San Francisco",  # as ThingsBoard's guide prints it
    "A =  b  ": "b",
    "A=a   b": "a   b",
    'A="a" b': "a b",
    'DOMAIN_SUFFIX="$(hostname)"': "vm",
    "A=$(hostname)": "vm",
    "A=x.$(hostname).y": "x.vm.y",
    'A="$( hostname  -f )"': "vm.example",
    "\tA=b": "b",
    "A=Zürich": "Zürich",
}


@pytest.mark.parametrize(("line", "value"), {**AS_IN_A_SHELL, **ONLY_HERE}.items())
def test_value_is_read(line: str, value: str) -> None:
    assert list(values_of(line).values()) == [value]


@pytest.mark.parametrize(("line", "value"), [item for item in AS_IN_A_SHELL.items() if ";" not in item[0]])
def test_a_shell_reads_the_same(line: str, value: str) -> None:
    shell = shutil.which("sh")
    assert shell
    script = f'{line}\nprintf "%s" "$A"'
    assert subprocess.run([shell, "-c", script], capture_output=True, check=True).stdout.decode() == value


def test_comments_empty_lines_crlf_and_a_byte_order_mark_are_understood() -> None:
    content = "\ufeff# first\r\n\r\nA=1\r\n  # indented\r\nB='2'\r\nA=3"
    assert values_of(content) == {"A": "3", "B": "2"}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("A=$(id)", "$(id)"),
        ('A="$(rm -rf /)"', "$(rm -rf /)"),
        ("A=`hostname`", "`hostname`"),
        ("A=$HOME/x", "$HOME"),
        ("A=${HOME}/x", "${HOME}"),
        ("A=$(hostname -s)", "$(hostname -s)"),
        ("A=$(hostname; id)", "$(hostname; id)"),
        ("A=$(hostname", "$(hostname"),
        ("A=cost$", "$"),
        ("A=$'a'", "$"),
        ('A="${x:-$(id)}"', "${x:-$(id)}"),
    ],
)
def test_any_other_substitution_is_refused_by_name(line: str, named: str) -> None:
    with pytest.raises(PropertiesInvalid) as refusal:
        values_of(f"# one\n{line}\n")
    assert f"A contains {named}, " in str(refusal.value)
    assert str(refusal.value).startswith("keygen.properties:2: ")


def test_substitution_in_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(PropertiesInvalid) as refusal:
        values_of("SERVER_KEY_PASSWORD=pa$$w0rd")
    assert "w0rd" not in str(refusal.value)
    assert "single quotes" in refusal.value.mend  # type: ignore[operator]  # a mend always stands here


@pytest.mark.parametrize(
    ("content", "line", "sentence"),
    [
        ("A=1\nnonsense", 2, "not NAME=value"),
        ("=b", 1, "not NAME=value"),
        ("A-B=c", 1, "not NAME=value"),
        ("rm -rf / #=", 1, "not NAME=value"),
        ("A='open", 1, "opening ' without"),
        ('A="open', 1, 'opening " without'),
        ("A=b\\", 1, "goes on in the next line"),
        ('A="b\\"', 1, 'opening " without'),
        ("A=a\x07b", 1, "does not print"),
        ("A=a\x00b", 1, "does not print"),
        (b"A=1\nB=\xe4", 2, "not UTF-8"),
        (b"A=" + b"x" * LARGEST_FILE, None, "larger than"),
    ],
)
def test_unreadable_line_is_named(content: str | bytes, line: int | None, sentence: str) -> None:
    with pytest.raises(PropertiesInvalid, match=sentence) as refusal:
        values_of(content)
    assert refusal.value.line == line
    assert "\n" not in str(refusal.value)


@UNHURRIED
@given(
    st.one_of(
        st.binary(max_size=200), st.text("AB=\"'$(){}`\\# \t\r\nhostname-f", max_size=80).map(str.encode)
    )
)
def test_only_its_own_error_is_raised_and_nothing_runs(content: bytes) -> None:
    try:
        values = values_of(content)
    except PropertiesInvalid:
        return
    for name, value in values.items():
        assert name.isidentifier()
        assert value.isprintable()


@UNHURRIED
@given(
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"], include_characters=" "), max_size=40)
)
def test_what_is_quoted_as_a_shell_does_comes_back(value: str) -> None:
    quoted = "'" + value.replace("'", "'\"'\"'") + "'"
    assert values_of(f"A={quoted}") == {"A": value}

"""What people paste where a certificate belongs -> certificates, or a finding with its mend.

ThingsBoard hashes whatever text it is given, so that a space or a `subject=` line makes an identity that no
connection can ever match (device API reference, 1.3). Here the text is read first: everything that leaves
no doubt about the certificate is understood, and anything else is refused by the name of what it is. No
finding repeats what was pasted, because it may be a key.
"""

from __future__ import annotations

import re

from thingpass.x509 import content_kinds, der, pem
from thingpass.x509.certificate import Certificate
from thingpass.x509.chains import chain_from, possible_leaves
from thingpass.x509.content_kinds import Kind
from thingpass.x509.errors import NotACertificate, Unreadable

# A leaf with its chain and their printed form (openssl x509 -text) stays under 40 kB; browsers' whole
# bundles of authorities have 200 kB, and nobody means to paste one as a device's credentials.
LARGEST_TEXT = 256 * 1024
# TLS stacks verify at most 10 (mbedTLS) to 100 (OpenSSL); each more costs a signature check per pair here.
MOST_CERTIFICATES = 20

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_ESCAPED_BREAKS = re.compile(r"\\[rnt]")
_FINGERPRINT = re.compile(r"(?:[A-Za-z0-9 -]*[=:]\s*)?(?:[0-9A-Fa-f]{2}[: ]?){19,63}[0-9A-Fa-f]{2}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{64,}={0,2}")
_FILE_NAME = re.compile(r"[^\n]{1,255}\.(?:pem|crt|cer|der|key|p12|pfx|jks)")
_TEXT_FORM_MEND = content_kinds.UNKNOWN.mend

# Things without PEM armour that people paste; the first row whose pattern is found wins.
_PLAIN_TEXTS = (
    (
        re.compile(r"\A(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\S+|sk-\S+) |BEGIN SSH2 PUBLIC KEY"),
        content_kinds.SSH_PUBLIC_KEY,
    ),
    (re.compile(r"\APuTTY-User-Key-File"), content_kinds.SSH_PRIVATE_KEY),
    (
        re.compile(r"\A\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE),
        Kind("web-page", "a web page (HTML)", "Download the certificate itself, not the page around it"),
    ),
    (
        re.compile(r"\ACertificate:\s+Data:", re.MULTILINE),
        Kind("printed-certificate", "a printed certificate without its PEM text", _TEXT_FORM_MEND),
    ),
    (
        re.compile(r"\A\s*[\[{]"),
        Kind("json", "a JSON document", "Give only the certificate in it: the text of its one field"),
    ),
)


def read_certificates(text: str | bytes) -> tuple[Certificate, ...]:
    """The certificates in a pasted text, the leaf first and then its issuers; raises NotACertificate.

    Understood: PEM with anything around it, on one line, indented, with CRLF, a byte order mark, literal
    `\\n` from JSON, `TRUSTED CERTIFICATE`, a bundle in any order, or the bare base64 of one certificate.
    """
    if len(text) > LARGEST_TEXT:
        raise _finding(
            "too-large",
            f"The text is larger than {LARGEST_TEXT // 1024} KiB; no certificate is.",
            "Give only the device's certificate",
        )
    content = _normalised(_decoded(text) if isinstance(text, bytes) else _checked(text))
    if not content:
        raise _finding("empty", "There is no text.", _TEXT_FORM_MEND)
    found = pem.scan(content)
    _refuse_secrets(content, found)
    certificates = [
        _certificate_of_block(block)
        for block in found.blocks
        if block.label in content_kinds.CERTIFICATE_LABELS
    ]
    if found.unclosed is not None or found.unopened is not None:
        raise _armour_finding(found)
    if len(certificates) > MOST_CERTIFICATES:
        raise _finding(
            "too-many",
            f"There are {len(certificates)} certificates; at most {MOST_CERTIFICATES} are read.",
            "Give only the device's certificate",
        )
    if certificates:
        return _leaf_first(certificates)
    if found.blocks:
        label = found.blocks[0].label
        raise _kind_finding(content_kinds.label_kind(label), f"BEGIN {content_kinds.shown_label(label)}")
    return (_certificate_of_plain_text(content),)


def _decoded(data: bytes) -> str:
    """Bytes as text; binary files are refused by what they are."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # "Unicode" of an older Windows editor
        return data.decode("utf-16", "replace")
    kind = content_kinds.content_kind(data)
    if kind is not content_kinds.UNKNOWN:
        raise _kind_finding(_as_binary(kind))
    try:
        return _checked(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        if b"-----BEGIN " in data:  # a preamble in an older encoding; the armour is ASCII in all of them
            return data.decode("latin-1")
        raise _finding("binary", "This is a binary file of an unknown kind.", _TEXT_FORM_MEND) from None


def _checked(text: str) -> str:
    """Text that may be a binary file read as text: refused by what it was, where that can still be seen."""
    if "\x00" in text or "\ufffd" in text or text.startswith(("0\x82", "0\x81")):
        kind = content_kinds.content_kind(text.encode("latin-1", "replace"))
        if kind is not content_kinds.UNKNOWN:
            raise _kind_finding(_as_binary(kind))
        if text.startswith("0") and "-----BEGIN " not in text:
            raise _kind_finding(content_kinds.DER_CERTIFICATE)
    return text


def _as_binary(kind: Kind) -> Kind:
    return content_kinds.DER_CERTIFICATE if kind is content_kinds.CERTIFICATE else kind


def _normalised(text: str) -> str:
    """Text without what editors, mail and JSON add: byte order marks, odd spaces, quotes, literal breaks."""
    text = _INVISIBLE.sub("", text).replace("\u00a0", " ").replace("\\/", "/")
    return _ESCAPED_BREAKS.sub("\n", text).strip().strip("\"'`,").strip()


def _refuse_secrets(content: str, found: pem.Scan) -> None:
    """A private key anywhere in the text, even beside a certificate, even damaged."""
    for label in (*(block.label for block in found.blocks), found.unclosed or "", found.unopened or ""):
        if label and content_kinds.label_kind(label).is_secret:
            raise _kind_finding(content_kinds.label_kind(label), f"BEGIN {content_kinds.shown_label(label)}")
    if re.search(r"(?:BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY", content):
        raise _kind_finding(content_kinds.PRIVATE_KEY)


def _armour_finding(found: pem.Scan) -> NotACertificate:
    seen, missing = (
        (f"-----BEGIN {content_kinds.shown_label(found.unclosed)}-----", "-----END ...-----")
        if found.unclosed is not None
        else (f"-----END {content_kinds.shown_label(found.unopened or '')}-----", "-----BEGIN ...-----")
    )
    return _finding(
        "truncated", f"The text has the line {seen}, but not its {missing}.", "Copy the whole text again"
    )


def _certificate_of_block(block: pem.Block) -> Certificate:
    try:
        content = pem.undo_base64(block.body)
    except pem.Damaged as damaged:
        raise _finding(
            "damaged",
            f"The text between BEGIN {block.label} and its end is damaged: {damaged.reason}.",
            "Copy the whole text again",
        ) from None
    if block.label == "TRUSTED CERTIFICATE":
        content = _without_trust_settings(content)
    return _certificate_of_der(content)


def _without_trust_settings(content: bytes) -> bytes:
    """OpenSSL writes the certificate and then, in the same block, what it is trusted for."""
    try:
        return content[: der.read_element(content, 0, len(content)).end]
    except der.Malformed:
        return content


def _certificate_of_plain_text(content: str) -> Certificate:
    for pattern, kind in _PLAIN_TEXTS:
        if pattern.search(content):
            raise _kind_finding(kind)
    if _FINGERPRINT.fullmatch(content):
        raise _finding(
            "fingerprint",
            "This is a fingerprint, not the certificate itself.",
            _TEXT_FORM_MEND,
        )
    if _FILE_NAME.fullmatch(content):
        raise _finding(
            "file-name", "This is the name of a file, not its content.", "Give the content of that file"
        )
    if _is_base64(content):
        try:
            return _certificate_of_der(pem.undo_base64(content))
        except pem.Damaged as damaged:
            sentence = f"This looks like base64, but {damaged.reason}."
        raise _finding("truncated", sentence, "Copy the whole text again")
    raise _finding("unknown", "There is no certificate in this text.", _TEXT_FORM_MEND)


def _is_base64(content: str) -> bool:
    """Base64 on one line, or on lines of any length; prose without punctuation is not taken for it."""
    words = content.split()
    return _BASE64.fullmatch("".join(words)) is not None and (len(words) == 1 or words[0].startswith("MI"))


def _certificate_of_der(content: bytes) -> Certificate:
    try:
        return Certificate.from_der(content)
    except Unreadable:
        kind = content_kinds.content_kind(content)
    if kind is content_kinds.CERTIFICATE:
        raise _finding(
            "damaged",
            "This has the shape of a certificate, but its content is damaged.",
            "Copy the whole text again, or make the certificate again",
        )
    if kind is content_kinds.UNKNOWN:
        raise _finding("damaged", "The base64 text holds no certificate.", "Copy the whole text again")
    raise _kind_finding(kind)


def _leaf_first(certificates: list[Certificate]) -> tuple[Certificate, ...]:
    leaves = possible_leaves(certificates)
    if len(leaves) == 1:
        return chain_from(leaves[0], certificates)
    if not leaves:  # authorities that signed each other: nobody is last, so the order given stands
        return chain_from(certificates[0], certificates)
    names = ", ".join(_shown(leaf.subject) for leaf in leaves[:3])
    raise _finding(
        "ambiguous",
        f"There are {len(leaves)} certificates that do not belong together: {names}.",
        "Give the one of the device alone, or with the authorities that issued it",
    )


def _shown(text: str) -> str:
    """Foreign text, short and harmless in a sentence."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return printable if len(printable) <= 80 else f"{printable[:77]}..."


def _kind_finding(kind: Kind, seen: str | None = None) -> NotACertificate:
    beside = "" if seen is None else f" ({seen})"
    is_nearly_one = kind in (content_kinds.DER_CERTIFICATE, content_kinds.TRUNCATED)
    verdict = "" if is_nearly_one else ", not a certificate"
    return _finding(kind.code, f"This is {kind.phrase}{beside}{verdict}.", kind.mend)


def _finding(found: str, sentence: str, mend: str) -> NotACertificate:
    return NotACertificate(sentence, f"{mend}.", found=found)

"""The TLS context of a listener: which versions it speaks, which certificate it shows, whom it lets finish.

Any client certificate passes the handshake once its key is proven; who it is gets decided at CONNECT, in one
place, with a reason either way. A stranger is therefore refused in words and not by an alert.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_der_x509_certificate
from OpenSSL import SSL, crypto

from thingpass.errors import Invalid
from thingpass.tls.binding import NO_RENEGOTIATION, RELEASE_BUFFERS, accept_any_certificate
from thingpass.x509.certificate import Certificate

VERSIONS: Final = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}


def make_server_context(
    private_key_pem: bytes, chain: tuple[Certificate, ...], *, minimum_version: str
) -> SSL.Context:
    """A context that shows `chain` (leaf first) and asks for, but does not insist on, a client certificate.

    Raises Invalid when OpenSSL refuses the key, the certificate or the version.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(VERSIONS[minimum_version])
    # Renegotiation lets a client ask for handshakes at our cost on one connection; TLS 1.3 has none anyway.
    context.set_options(NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(RELEASE_BUFFERS)
    if minimum_version in ("1.0", "1.1"):
        # OpenSSL 3 and later refuse the SHA-1 signatures of TLS 1.0 and 1.1 above security level 0.
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    try:
        # A key of a kind that TLS does not know is refused here with TypeError.
        context.use_privatekey(load_pem_private_key(private_key_pem, password=None))  # type: ignore[arg-type]
        context.use_certificate(load_der_x509_certificate(chain[0].der))
        for certificate in chain[1:]:
            context.add_extra_chain_cert(load_der_x509_certificate(certificate.der))
        context.check_privatekey()
    except (SSL.Error, crypto.Error, TypeError, ValueError) as error:
        raise Invalid(
            f"The server certificate {chain[0].subject} cannot be used for TLS: {error}.",
            mend="Make a new pair with: thingpass keygen server",
        ) from error
    # Without an id of the context every client that resumes a session is cut with alert 80.
    context.set_session_id(b"thingpass")
    # Tickets only: a session is kept by the client, encrypted, and costs us no memory.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    accept_any_certificate(context)
    return context

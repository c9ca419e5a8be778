"""A heap of certificates in some order -> the leaf first, then who issued it, and so on."""

from __future__ import annotations

from collections.abc import Sequence

from thingpass.x509.certificate import Certificate


def possible_leaves(certificates: Sequence[Certificate]) -> list[Certificate]:
    """Those that issued no other of the heap, without authorities where something else is left; order kept.

    Issuer links are checked by signature, not by name: all self-signed certificates of ThingsBoard's scripts
    share one name.
    """
    unique = list(dict.fromkeys(certificates))
    leaves = [one for one in unique if not any(other.is_issued_by(one) for other in unique if other != one)]
    return [leaf for leaf in leaves if not leaf.is_ca] or leaves


def chain_from(leaf: Certificate, certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The leaf, its issuer, that one's, as far as the heap reaches; what does not belong is left out."""
    chain = [leaf]
    rest = [one for one in dict.fromkeys(certificates) if one != leaf]
    while True:
        issuer = next((one for one in rest if chain[-1].is_issued_by(one)), None)
        if issuer is None:
            return tuple(chain)
        chain.append(issuer)
        rest.remove(issuer)

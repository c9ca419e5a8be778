"""A heap of certificates, put in order by who signed whom."""

from __future__ import annotations

import itertools

from tests.unit.x509.material import chain, issue, key
from thingpass.x509.chains import chain_from, possible_leaves


def test_leaf_is_found_in_any_order() -> None:
    for heap in itertools.permutations(chain()):
        assert possible_leaves(heap) == [chain()[0]]
        assert chain_from(chain()[0], heap) == chain()


def test_unrelated_authority_is_no_leaf_and_left_out() -> None:
    stranger = issue("stranger", key(3), is_ca=True)
    heap = (stranger, *chain())
    assert possible_leaves(heap) == [chain()[0]]
    assert chain_from(chain()[0], heap) == chain()


def test_two_self_signed_with_one_name_are_two_leaves() -> None:
    first, second = issue("vm", key(0)), issue("vm", key(1))
    assert possible_leaves((first, second)) == [first, second]
    assert chain_from(first, (second, first)) == (first,)


def test_authorities_that_signed_each_other_end_the_chain() -> None:
    a, b = issue("a", key(1), is_ca=True), issue("b", key(2), is_ca=True)
    a_by_b, b_by_a = issue("a", key(1), (b, key(2)), is_ca=True), issue("b", key(2), (a, key(1)), is_ca=True)
    assert possible_leaves((a_by_b, b_by_a)) == []
    assert chain_from(a_by_b, (a_by_b, b_by_a)) == (a_by_b, b_by_a)


def test_duplicates_are_one() -> None:
    assert chain_from(chain()[0], chain() + chain()) == chain()

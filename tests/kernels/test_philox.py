"""Philox against Random123's known answers, its twin, the host's form, and for shared blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import philox as twin

from voxelmill.engine import draw
from voxelmill.kernels import philox

settings.register_profile("kernels", deadline=None)  # a first call compiles
settings.load_profile("kernels")

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)

# Random123 1.14, examples/kat_vectors, philox4x32 with 10 rounds: counter, key, answer.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def hexadecimal(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    counter, key, answer = hexadecimal(counter), hexadecimal(key), hexadecimal(answer)
    assert list(philox.philox(*counter, *key)) == answer
    assert list(twin.philox(*counter, *key)) == answer
    assert draw.philox(np.array([counter], np.uint32), tuple(key))[0].tolist() == answer


@given(st.lists(st.tuples(*[U32] * 4), min_size=1, max_size=5), st.tuples(U32, U32))
def test_host_bulk_form_and_kernel_give_the_same_bits(counters, key):
    bulk = draw.philox(np.array(counters, np.uint32), key)
    for row, counter in zip(bulk.tolist(), counters, strict=True):
        assert row == list(philox.philox(*counter, *key)) == list(twin.philox(*counter, *key))


# Few values of each word, so that near addresses meet; indices on both sides of 2**32.
near_seed = st.sampled_from([0, 1, 7, 2**32, 2**32 + 7, 2**64 - 1]) | U64
near_index = st.sampled_from([0, 1, 7, 2**32, 2**32 + 1, 7 * 2**32, 2**64 - 1]) | U64
near_name = st.sampled_from(["shift", "noise", "mask", "a", "b"]) | st.text(max_size=6)
address = st.tuples(near_seed, near_index, near_name, st.integers(0, 3))


@given(st.lists(address, min_size=2, max_size=40))
def test_no_two_addresses_share_a_block(addresses):
    # A recipe's names have codes apart (tests of the recipes), so an address is told by its code.
    apart = {(s, i, draw.name_code(n), e): (s, i, n, e) for s, i, n, e in addresses}
    blocks = set()
    for seed, index, name, element in apart.values():
        key = np.array([draw.Stream(seed, index).key(name)], np.uint32)
        blocks.add(philox.words(key, element + 1)[0, element].tobytes())
    assert len(blocks) == len(apart)


@given(U64, U64, st.integers(1, 9))
def test_words_and_normals_agree_with_the_twin(seed, index, count):
    keys = np.array([draw.Stream(seed, index).key(n) for n in ("one", "two")], np.uint32)
    np.testing.assert_array_equal(philox.words(keys, count), twin.words(keys, count))
    np.testing.assert_allclose(philox.normals(keys, count), twin.normals(keys, count), atol=2e-5)


@given(U64, U64, st.integers(1, 9))
def test_one_sample_draws_what_a_batch_draws(seed, index, count):
    stream = draw.Stream(seed, index)
    keys = np.array([stream.key("one")] * 2, np.uint32)
    np.testing.assert_array_equal(stream.normal("one", count), philox.normals(keys, count)[1])
    words = philox.words(keys, -(-count // 4))[1].ravel()[:count]
    np.testing.assert_array_equal(stream.uniform("one", count), words / 2.0**32)


@given(st.integers(1, 2**32), st.integers(0, 9), st.tuples(*[U32] * 5))
def test_bounded_integers_agree_with_the_twin(bound, slot, words):
    found = philox.bounded(slot, bound, *words)
    assert found == twin.bounded(slot, bound, *words)
    assert found < bound


def test_the_first_numbers_are_the_same_at_every_count():
    stream = draw.Stream(3, 2**32 + 5)
    np.testing.assert_array_equal(stream.uniform("u", 3), stream.uniform("u", 11)[:3])
    np.testing.assert_array_equal(stream.normal("n", 3), stream.normal("n", 11)[:3])
    np.testing.assert_array_equal(
        stream.integers("i", -4, 90, 3), stream.integers("i", -4, 90, 11)[:3]
    )


def test_normals_are_normal():
    keys = np.array([draw.Stream(1, i).key("n") for i in range(8)], np.uint32)
    z = philox.normals(keys, 50_000)
    assert np.isfinite(z).all()
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.01
    assert abs((abs(z) < 1).mean() - 0.6827) < 0.003


def test_keys_of_another_shape_or_type_are_refused():
    with pytest.raises(ValueError, match="keys are"):
        philox.words(np.zeros((2, 4), np.uint32), 1)
    with pytest.raises(ValueError, match="float32"):
        philox.normals(np.zeros((2, 5), np.float32), 1)

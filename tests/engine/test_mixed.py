import pickle
from dataclasses import replace

import numpy as np
import pytest
import stores

from voxelmill.engine.errors import StoreError
from voxelmill.engine.mix import BLOCK
from voxelmill.engine.mixed import MixedReader
from voxelmill.engine.reader import Reader, open_store
from voxelmill.engine.sample import Field, Rows
from voxelmill.engine.store import create

COUNTS = (11, 6, 9)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return [
        stores.make(folder / f"{k}.zarr", stores.describe(n, content_digest=f"{k}" * 64))
        for k, n in enumerate(COUNTS)
    ]


def _pairs(batches):
    return [
        pair for b in batches for pair in zip(b["store"].tolist(), b["index"].tolist(), strict=True)
    ]


ALL = [(k, i) for k, n in enumerate(COUNTS) for i in range(n)]


@pytest.mark.parametrize("fields", [None, ["mask", "objects", "params"], ["runs"]])
def test_samples_are_those_of_the_stores(paths, fields):
    mixed = open_store(paths, weights=[1, 2, 1])
    assert len(mixed) == sum(COUNTS)
    for batch in mixed.batches(4, fields=fields, seed=1, end="uneven"):
        for j, i in enumerate(batch["index"].tolist()):
            one = {
                k: v.values[v.starts[j] : v.starts[j + 1]] if isinstance(v, Rows) else v[j]
                for k, v in batch.items()
                if k not in ("store", "index")
            }
            names = fields or ["image", "mask", "inside", "objects", "runs"]
            assert list(one) == names
            assert stores.same(one, {k: stores.sample(i)[k] for k in names})


def test_samples_by_index_through_all_stores(paths):
    mixed = open_store(paths, weights=[1, 2, 1])  # which have no say here
    for index, (k, i) in enumerate(ALL):
        one = mixed[index]
        assert (one.pop("store"), one.pop("index")) == (k, i)
        assert stores.same(one, stores.sample(i))
        assert list(one) == mixed.names
    for wanted in ([25, 0, 11, 10, 11], slice(9, 13), np.array([17], np.uint8), [], slice(3, 3)):
        batch, due = mixed[wanted], np.arange(sum(COUNTS))[wanted]
        assert list(zip(batch["store"], batch["index"], strict=True)) == [ALL[i] for i in due]
        assert len(batch["image"]) == len(batch["objects"].starts) - 1 == len(due)
        for j, i in enumerate(due.tolist()):
            rows = batch["objects"]
            found = rows.values[rows.starts[j] : rows.starts[j + 1]]
            np.testing.assert_array_equal(found, stores.sample(ALL[i][1])["objects"])
            np.testing.assert_array_equal(batch["params"][j], stores.sample(ALL[i][1])["params"])
    out = {"inside": np.zeros((2, 3), bool)}
    mixed.start([4, 20], ["inside"], out).result()
    np.testing.assert_array_equal(out["inside"], [stores.sample(i)["inside"] for i in (4, 3)])
    for index in (26, -1, [3, 26]):
        with pytest.raises(IndexError, match=r"is not in \[0, 26\) of 3 stores"):
            mixed[index]
    with pytest.raises(TypeError, match="an index is an integer"):
        mixed[1.5]


def test_params_of_all_stores(paths, tmp_path):
    mixed = open_store(paths)
    assert list(mixed.params) == ["subject", "angle"]
    due = [stores.sample(i)["params"] for _, i in ALL]
    for number, name in enumerate(mixed.params):
        np.testing.assert_array_equal(mixed.params[name], np.array(due)[:, number])
    assert repr(mixed.params) == "JoinedParams(subject, angle: 3 stores)"
    assert ("angle" in mixed.params, len(mixed.params)) == (True, 2)
    with pytest.raises(
        KeyError, match=r"no column 'anger' in params of .*0\.zarr; did you mean 'a"
    ):
        mixed.params["anger"]
    angle, subject = stores.COLUMNS[1], replace(stores.COLUMNS[0], categories=("ann", "bob", "eve"))
    create(tmp_path / "x.zarr", stores.describe(columns=(angle, subject)))
    other = open_store([paths[0], tmp_path / "x.zarr"], partial=True)
    assert list(other.params) == ["angle"]
    assert np.isnan(other.params["angle"]).tolist() == [False] * 11 + [True] * 11
    with pytest.raises(KeyError, match="'subject' has not one unit and the same categories"):
        other.params["subject"]
    with pytest.raises(StoreError, match="sample 2 is in shard 0, which is not made yet"):
        other[13]


@pytest.mark.parametrize("shuffle", [True, False])
def test_without_weights_each_sample_comes_once(paths, shuffle):
    stream = open_store(paths).batches(4, shuffle, seed=3, end="uneven", fields=["inside"])
    found = _pairs(stream)
    assert sorted(found) == ALL
    assert (found == ALL) is not shuffle
    assert _pairs(stream) != found or not shuffle
    assert sorted(_pairs(open_store(paths).batches(1, seed=3, where="subject == 'ann'"))) == [
        (k, i) for k, i in ALL if i % 3 == 0
    ]


@pytest.mark.parametrize("weights", [[1, 2, 1], [0.7, 0.2, 0.1], [1, 1, 3e-3]])
def test_weights_are_met_and_each_store_runs_through_its_own_epochs(paths, weights):
    mixed = open_store(paths, weights=weights)
    order = mixed.batches(1, seed=9).order
    draws = order._drawn(np.arange(2 * BLOCK))
    shares = np.bincount(draws[0][:BLOCK]) / BLOCK
    np.testing.assert_allclose(shares, np.array(weights) / sum(weights), atol=1 / BLOCK)
    samples = order.samples(np.arange(2 * BLOCK))
    for k, size in enumerate(COUNTS):  # each sample once before one comes again
        own = draws[1][draws[0] == k]
        np.testing.assert_array_equal(own, np.arange(len(own)))
        epochs = samples[draws[0] == k][: len(own) // size * size].reshape(-1, size)
        first = sum(COUNTS[:k])
        assert (np.sort(epochs) == np.arange(first, first + size)).all()
    short = np.bincount(draws[0][:1000], minlength=3) / 1000  # also in any short part
    np.testing.assert_allclose(short, shares, atol=0.05)
    # random access gives what the whole gives, over the ends of epochs
    a = np.concatenate(
        [mixed.batches(1, seed=9, epoch=e).order.samples(np.arange(26)) for e in (0, 1)]
    )
    part = mixed.batches(1, seed=9, epoch=1).order.samples(np.array([25, 3]))
    np.testing.assert_array_equal(part, a[[51, 29]])


def test_equal_stores_are_not_in_step(paths):
    order = open_store([paths[0], paths[0]], weights=[1, 1]).batches(1).order
    a, b = (o.samples(np.arange(11)) for o in order.parts)
    assert a.tolist() != b.tolist()


@pytest.mark.parametrize("weights", [None, [3, 1, 2]])
def test_stopped_and_resumed_on_other_ranks(paths, weights):
    due = _pairs(open_store(paths, weights=weights).batches(1, seed=4, epochs=2, fields=["inside"]))
    state, found = None, []
    for size, ranks, steps in ((3, 2, 2), (2, 1, 3), (1, 3, 99), (4, 2, 2), (5, 1, 99)):
        taken = []
        for rank in range(ranks):
            stream = open_store(paths, weights=weights).batches(
                size, seed=4, rank=rank, ranks=ranks, end="uneven", fields=["inside"], ahead=2
            )
            if state:
                stream.load_state_dict(state)
            for _, batch in zip(range(steps), stream, strict=False):
                taken += _pairs([batch])
        state = stream.state_dict()
        found += taken
    assert state["epoch"] == 2
    assert sorted(found) == sorted(due)
    assert len(found) == 2 * sum(COUNTS)


def test_states_of_other_mixes_are_refused(paths):
    state = open_store(paths, weights=[1, 1, 1]).batches(2).state_dict()
    with pytest.raises(StoreError, match="its order is global"):
        open_store(paths, weights=[1, 1, 2]).batches(2).load_state_dict(state)
    with pytest.raises(StoreError, match="its store is 0000"):
        open_store(paths[::-1], weights=[1, 1, 1]).batches(2).load_state_dict(state)


def test_buffers_padding_and_crops(paths):
    sets = [{"image": np.zeros((4, 3, 7), "f4")} for _ in range(2)]
    mixed = open_store(paths, weights=[1, 1, 1])
    for batch in mixed.batches(4, out=sets, padded={"objects": (5, "drop")}, crop={"y": 3}):
        assert any(np.shares_memory(batch["image"], s["image"]) for s in sets)
        assert batch["objects"].shape == (4, 5, 2)
        assert batch["mask"].shape == (4, 3, 7)
        for j, i in enumerate(batch["index"].tolist()):
            image = stores.sample(i)["image"]
            (y,) = batch["crop"][j]
            np.testing.assert_array_equal(image[y : y + 3], batch["image"][j])


def test_by_shard(paths):
    mixed = open_store(paths, weights=[1, 1, 1])
    found = _pairs(mixed.batches(1, "shard", window=1, epochs=4))
    own = [i for k, i in found if k == 0][:11]
    assert sorted(own) == list(range(11)) or len(set(own)) < 11  # blocks are permuted over it
    with pytest.raises(ValueError, match='goes store by store: give weights=, or "global"'):
        open_store(paths).batches(1, "shard")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            (Field("image", "float32", ("y", "x"), (5, 7), unit="HU"), *stores.FIELDS[1:]),
            "'image' is not the same in all stores: its unit is grey in .*zarr and HU in .*zarr",
        ),
        (
            (
                stores.FIELDS[0],
                Field(
                    "mask", "uint8", ("y", "x"), (5, 7), unit="class", labels={0: "b", 1: "clip"}
                ),
                *stores.FIELDS[2:],
            ),
            "'mask' is not the same in all stores: its labels is",
        ),
    ],
)
def test_stores_that_do_not_go_together_say_why(paths, tmp_path, fields, words):
    path = stores.make(tmp_path / "y.zarr", stores.describe(3, fields=fields))
    mixed = open_store([paths[0], path])
    with pytest.raises(ValueError, match=words):
        mixed.batches(2, fields=["image", "mask"])
    assert next(mixed.batches(2, fields=["inside"]))["inside"].shape == (2, 3)


def test_a_field_that_a_store_has_not_is_named_with_the_store(paths, tmp_path):
    create(tmp_path / "y.zarr", stores.describe(fields=stores.FIELDS[2:]))
    mixed = MixedReader([Reader(paths[0]), Reader(tmp_path / "y.zarr", partial=True)])
    assert list(mixed.fields) == ["inside", "objects", "runs"]
    with pytest.raises(ValueError, match=r"y\.zarr has no field 'mask', as .*0\.zarr has"):
        mixed.batches(2, fields=["inside", "mask"])


def test_stores_that_share_no_field_are_refused_at_once(paths, tmp_path):
    renamed = [replace(f, name=f"other_{f.name}") for f in stores.FIELDS]
    create(path := tmp_path / "z.zarr", stores.describe(fields=tuple(renamed)))
    with pytest.raises(ValueError, match=r"no field in common: .*0\.zarr has image, mask"):
        MixedReader([Reader(paths[0]), Reader(path, partial=True)])


def test_buffers_that_do_not_fit_are_refused(paths):
    """As by one store: nothing is cast or left empty."""
    mixed = open_store(paths)
    for image, words in (
        (np.zeros((4, 5, 7), np.int8), "float32 is due: nothing is cast"),
        (np.zeros((4, 1, 1), np.float32), "float32 is due: nothing is cast"),
        (np.zeros((4, 7, 5), np.float32).swapaxes(1, 2), "C-contiguous and writeable"),
    ):
        with pytest.raises(ValueError, match=words):
            next(mixed.batches(4, fields=["image"], out=[{"image": image}]))
    for name in ("imag", "mask", "runs"):
        out = [{name: np.zeros((4, 5, 7), np.uint8)}]
        with pytest.raises(ValueError, match=f"no buffer can be filled with '{name}'"):
            next(mixed.batches(4, fields=["image", "runs"], out=out))


def test_it_pickles_as_paths(paths):
    mixed = open_store(paths, weights=[1, 2, 3])
    again = pickle.loads(pickle.dumps(mixed))
    assert repr(again) == repr(mixed)
    assert _pairs(again.batches(5, seed=1)) == _pairs(mixed.batches(5, seed=1))


def test_bad_weights_are_refused(paths):
    for wrong in ([1, 2], [1, 0, 1], [1, -1, 1], [1, float("nan"), 1], [1, float("inf"), 1]):
        with pytest.raises(ValueError, match="must be 3 positive numbers, one a store"):
            open_store(paths, weights=wrong)
    with pytest.raises(ValueError, match=r"weight 1e-09 of store 2 is below 1 in 65536"):
        open_store(paths, weights=[1, 1, 1e-9])
    with pytest.raises(ValueError, match="weights= are for a list of stores"):
        open_store(paths[0], weights=[1])
    with pytest.raises(ValueError, match="needs at least one"):
        MixedReader([])
    with pytest.raises(ValueError, match="26 samples are no batch of 27"):
        open_store(paths).batches(27)

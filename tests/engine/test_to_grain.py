import pickle
import threading
import time

import grain
import numpy as np
import pytest
import scripts
import stores
from hypothesis import given, settings
from hypothesis import strategies as st

from voxelmill.engine import store
from voxelmill.engine.errors import StoreError
from voxelmill.engine.reader import open_store
from voxelmill.engine.to_grain import GrainBatches, GrainSource

COUNT = 50
FEW = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    path = tmp_path_factory.mktemp("grain") / "x.zarr"
    return open_store(stores.make(path, stores.describe(COUNT)))


def _indices(batches):
    return [batch["index"].tolist() for batch in batches]


def _epochs(reader, epochs=1, size=4, **options):
    return _indices(reader.batches(size, seed=3, epochs=epochs, **options))


# Samples


def test_a_source_gives_samples(reader):
    source = GrainSource(reader)
    assert isinstance(source, grain.sources.RandomAccessDataSource)
    assert len(source) == COUNT
    for i in (0, 7, np.int64(49)):
        assert stores.same(source[i], {k: v for k, v in reader[int(i)].items() if k != "params"})
    for wrong in (COUNT, -1):
        with pytest.raises(IndexError, match=r"not in \[0, 50\)"):
            source[wrong]


@pytest.mark.parametrize("make", [GrainSource, lambda r: GrainBatches(r, 4, seed=3, epochs=2)])
def test_a_source_pickles_and_has_a_stable_repr(reader, make):
    source = make(reader)
    again = pickle.loads(pickle.dumps(source))
    assert repr(again) == repr(source) == repr(make(open_store(reader.path)))
    assert " at 0x" not in repr(source)
    assert stores.same(again[3], source[3])


def test_grain_shuffles_and_batches_samples(reader):
    samples = grain.MapDataset.source(GrainSource(reader, ["image", "mask"])).seed(4).shuffle()
    seen = []
    for batch in samples.to_iter_dataset(FEW).batch(8):
        for i, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            np.testing.assert_array_equal(image, stores.sample(i)["image"])
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(COUNT))


def _loader(reader):
    sampler = grain.samplers.IndexSampler(COUNT, shuffle=True, seed=4, num_epochs=1)
    return grain.DataLoader(
        data_source=GrainSource(reader, ["image"]),
        sampler=sampler,
        operations=[grain.transforms.Batch(5)],
        worker_count=0,
        read_options=FEW,
    )


def test_a_loader_of_grain_resumes(reader):
    due = _indices(_loader(reader))
    assert sorted(i for batch in due for i in batch) == list(range(COUNT))
    first = iter(_loader(reader))
    head = [next(first)["index"].tolist() for _ in range(3)]
    second = iter(_loader(open_store(reader.path)))
    second.set_state(first.get_state())
    assert head + _indices(second) == due


# Batches


@pytest.mark.parametrize("end", ["drop", "pad", "uneven"])
def test_batches_are_those_of_the_reader_epoch_after_epoch(reader, end):
    how = {"seed": 3, "end": end, "rank": 1, "ranks": 2, "padded": {"objects": (9, "drop")}}
    ours = GrainBatches(reader, 4, epochs=3, scale={"mask": (0.1, 0.0)}, crop={"x": 4}, **how)
    theirs = list(reader.batches(4, epochs=3, scale={"mask": (0.1, 0.0)}, crop={"x": 4}, **how))
    assert len(ours) == len(theirs)
    for k, due in enumerate(theirs):
        assert ours[k].keys() == due.keys()
        np.testing.assert_array_equal(ours[k]["index"], due["index"])
        assert stores.same(ours[k], due)
    with pytest.raises(IndexError, match="not in"):
        ours[len(ours)]


def test_grain_reads_batches_ahead_in_our_order(reader):
    batches = grain.MapDataset.source(GrainBatches(reader, 4, epochs=2, seed=3))
    assert _indices(batches.to_iter_dataset(FEW)) == _epochs(reader, 2)


def test_a_checkpoint_of_grain_goes_on(reader):
    def stream():
        source = GrainBatches(open_store(reader.path), 4, epochs=2, seed=3)
        return iter(grain.MapDataset.source(source).to_iter_dataset(FEW))

    first = stream()
    head = [next(first)["index"].tolist() for _ in range(5)]
    second = stream()
    second.set_state(first.get_state())
    assert head + _indices(second) == _epochs(reader, 2)


def test_ranks_share_the_batches(reader):
    found = [
        i
        for rank in range(3)
        for b in grain.MapDataset.source(
            GrainBatches(reader, 4, seed=3, rank=rank, ranks=3, end="uneven")
        ).to_iter_dataset(FEW)
        for i in b["index"].tolist()
    ]
    assert sorted(found) == list(range(COUNT))


@settings(max_examples=12, deadline=None)
@given(
    steps=st.integers(0, 30),
    ranks=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_it_goes_on_on_other_ranks(reader, steps, ranks, sizes):
    def sources(which, **options):
        return [
            GrainBatches(reader, sizes[which], seed=3, end="uneven", rank=r, ranks=n, **options)
            for n in [ranks[which]]
            for r in range(n)
        ]

    before = sources(0)
    steps = min(steps, len(before[0]))
    seen = [i for s in before for k in range(steps) for i in s[k]["index"].tolist()]
    states = [s.state_at(steps) for s in before]
    assert all(state == states[0] for state in states)
    if states[0]["epoch"] == 0:
        after = sources(1, state=states[0])
        seen += [i for s in after for k in range(len(s)) for i in s[k]["index"].tolist()]
    assert sorted(seen) == list(range(COUNT))


def test_a_stream_of_the_reader_takes_up_a_state(reader):
    source = GrainBatches(reader, 4, seed=3, epochs=3)
    stream = reader.batches(4, seed=3, epochs=2)
    stream.load_state_dict(source.state_at(17))
    assert next(stream)["index"].tolist() == source[17]["index"].tolist()


def test_a_state_of_another_seed_is_refused(reader):
    state = GrainBatches(reader, 4, seed=4).state_at(2)
    with pytest.raises(StoreError, match="seed"):
        GrainBatches(reader, 4, seed=3, state=state)


def test_what_does_not_fit_is_refused(reader):
    with pytest.raises(ValueError, match="epochs 0 must be 1 or more"):
        GrainBatches(reader, 4, epochs=0)
    with pytest.raises(ValueError, match="out= is not for GrainBatches"):
        GrainBatches(reader, 4, out=[])


WORKERS = """
import grain
from absl import flags
from voxelmill.engine.reader import open_store
from voxelmill.engine.to_grain import GrainBatches

if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()  # grain asks for its flags
    source = GrainBatches(open_store(sys.argv[1]), 4, seed=3, end="uneven")
    few = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    batches = grain.MapDataset.source(source).to_iter_dataset(few)
    workers = grain.MultiprocessingOptions(num_workers=2, per_worker_buffer_size=1)
    seen = [batch["index"].tolist() for batch in batches.mp_prefetch(workers)]
    print(json.dumps(seen))
"""


def test_worker_processes_of_grain_share_the_batches(reader, tmp_path):
    seen = scripts.result(scripts.start(tmp_path, "workers", WORKERS, [reader.path]), 90)
    assert seen == _epochs(reader, end="uneven")


def test_batches_of_a_store_that_is_being_made_wait(tmp_path):
    store.create(tmp_path / "x.zarr", stores.describe())

    def make():
        for shard in range(3):
            time.sleep(0.1)
            stores.write(tmp_path / "x.zarr", stores.describe(), shard)

    mill = threading.Thread(target=make)
    mill.start()
    reader = open_store(tmp_path / "x.zarr", follow=True, stall_s=5)
    ours = GrainBatches(reader, 2, seed=3, window=1)
    found = [ours[i] for i in range(len(ours))]
    mill.join()
    theirs = list(open_store(tmp_path / "x.zarr", follow=True).batches(2, seed=3, window=1))
    assert all(stores.same(a, b) for a, b in zip(found, theirs, strict=True))

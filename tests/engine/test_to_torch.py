import itertools
import json
import socket
import time

import numpy as np
import psutil
import pytest
import scripts
import stores
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from voxelmill.engine import torch_memory
from voxelmill.engine.errors import StoreError
from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Rows
from voxelmill.engine.to_torch import TorchSamples, TorchStream

COUNT = 50
# torchdata 0.11 calls a function that torch 2.13 calls deprecated
STATEFUL = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return stores.make(tmp_path_factory.mktemp("torch") / "x.zarr", stores.describe(COUNT))


@pytest.fixture(scope="module")
def reader(whole):
    return open_store(whole)


def _indices(stream, most=None):
    return [batch["index"].tolist() for batch in itertools.islice(stream, most)]


def _flat(found):
    return sorted(i for batch in found for i in batch)


def _epoch(reader, size=4, epoch=0, **options):
    return _indices(reader.batches(size, seed=3, epoch=epoch, **options))


# Streams


def test_a_stream_gives_what_its_reader_gives_as_tensors(reader):
    stream = TorchStream(reader, 4, seed=3, fields=reader.names)
    assert len(stream) == COUNT // 4
    for ours, theirs in zip(stream, reader.batches(4, seed=3, fields=reader.names), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if isinstance(value, Rows):
                values, starts = ours[name]
                np.testing.assert_array_equal(values.numpy(), value.values)
                np.testing.assert_array_equal(starts.numpy(), value.starts)
            else:
                assert isinstance(ours[name], torch.Tensor)
                np.testing.assert_array_equal(ours[name].numpy(), value)
                assert ours[name].numpy().dtype == value.dtype


def test_ragged_fields_are_padded_on_request(reader):
    batch = next(iter(TorchStream(reader, 4, padded={"runs": 3}, end="pad")))
    assert batch["runs"].shape == (4, 3, 1)
    np.testing.assert_array_equal(batch["runs_count"].numpy(), batch["index"].numpy() % 4)
    assert batch["padded"].dtype == torch.bool


@pytest.mark.parametrize("end", ["drop", "pad", "uneven"])
def test_ranks_share_an_epoch(reader, end):
    found = [_indices(TorchStream(reader, 4, rank=r, ranks=3, seed=3, end=end)) for r in range(3)]
    seen = _flat(itertools.chain(*found))
    assert len(set(seen)) == (48 if end == "drop" else COUNT)
    assert len(seen) == {"drop": 48, "pad": 60, "uneven": COUNT}[end]


def test_each_for_is_an_epoch_also_after_an_early_end(reader):
    stream = TorchStream(reader, 4, seed=3)
    assert _indices(stream) == _epoch(reader)
    assert _indices(stream, 3) == _epoch(reader, epoch=1)[:3]
    assert _indices(stream) == _epoch(reader, epoch=2)
    stream.set_epoch(7)
    assert _indices(stream, 3) == _epoch(reader, epoch=7)[:3]
    stream.set_epoch(7)
    assert _indices(stream) == _epoch(reader, epoch=7)
    assert stream.state_dict()["epoch"] == 8


def test_exactly_its_length_taken_is_an_epoch(reader):
    stream = TorchStream(reader, 4, seed=3)
    for epoch in range(3):  # the end is never met, as in the trainer of Hugging Face
        assert _indices(stream, len(stream)) == _epoch(reader, epoch=epoch)


def test_the_next_epoch_is_begun_while_this_one_is_had(whole):
    reader, begun = open_store(whole), []
    due, begin = [_epoch(reader, epoch=e) for e in range(6)], reader.begin
    reader.begin = lambda i, *a: begun.append(i.tolist()) or begin(i, *a)
    stream = TorchStream(reader, 4, seed=3, ahead=2)
    for epoch in range(3):
        stream.set_epoch(epoch)  # as trainers do: nothing is thrown away
        assert _indices(stream) == due[epoch]
        assert stream.state_dict()["epoch"] == epoch + 1
    deadline = time.monotonic() + 20
    while len(begun) < 38 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert begun == [*due[0], *due[1], *due[2], *due[3][:2]]
    stream.set_epoch(5)
    assert _indices(stream) == due[5]


def test_an_older_pass_is_refused_when_another_has_begun(reader):
    stream = TorchStream(reader, 4, seed=3)
    older = iter(stream)
    next(older)
    next(iter(stream))
    with pytest.raises(RuntimeError, match="a later `for`"):
        next(older)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"fields": ["imgae"]}, ValueError, "has no field 'imgae'"),
        ({"feilds": ["image"]}, TypeError, "feilds"),
        ({"scale": {"imgae": (1, 0)}}, ValueError, "'imgae' cannot be scaled"),
        ({"padded": {"run": 3}}, ValueError, "run"),
        ({"size": 51}, ValueError, "no batch of 51"),
        ({"end": "stop"}, ValueError, "stop"),
    ],
)
def test_mistakes_are_refused_when_a_stream_is_made(reader, wrong, error, words):
    with pytest.raises(error, match=words):
        TorchStream(reader, **({"size": 4} | wrong))


@settings(max_examples=15, deadline=None)
@given(
    legs=st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=4
    )
)
def test_a_resumed_epoch_has_each_sample_once_on_any_ranks(reader, legs):
    state, seen = None, []
    for ranks, size, steps in [*legs, (1, 4, None)]:
        states = []
        for rank in range(ranks):
            stream = TorchStream(reader, size, rank=rank, ranks=ranks, seed=3, end="uneven")
            if state is not None:
                stream.load_state_dict(json.loads(json.dumps(state)))
            for batch in itertools.islice(stream, steps):
                seen += batch["index"].tolist()
            states.append(stream.state_dict())
        if steps is None or state == states[0]:
            continue
        assert all(s["epoch"] == states[0]["epoch"] for s in states)
        state = states[0]
        if state["epoch"]:
            break
    assert sorted(seen) == list(range(COUNT))


def test_a_state_is_taken_up_once_then_epochs_are_whole(reader):
    first = TorchStream(reader, 4, seed=3)
    head = _indices(first, 5)
    second = TorchStream(reader, 4, seed=3)
    second.load_state_dict(first.state_dict())
    second.set_epoch(0)  # as trainers do before each epoch
    assert head + _indices(second) == _epoch(reader)
    assert second.state_dict() == {**first.state_dict(), "epoch": 1, "delivered": 0}
    assert _indices(second) == _epoch(reader, epoch=1)


def test_a_state_of_another_order_is_refused(reader):
    state = TorchStream(reader, 4, seed=3).state_dict()
    with pytest.raises(StoreError, match="seed is 3, and here it is 4"):
        TorchStream(reader, 4, seed=4).load_state_dict(state)


def test_an_error_comes_at_its_batch_and_nothing_is_lost(tmp_path):
    path = stores.make(tmp_path / "x.zarr", stores.describe(12))
    stream = TorchStream(open_store(path, check="always"), 2, shuffle=False, ahead=4)
    file = next((path / "image" / "c" / "1").rglob("0"))
    moved = file.rename(tmp_path / "away")
    seen = []
    with pytest.raises(StoreError, match="image/c/1"):  # noqa: PT012 - how far it came matters
        for batch in stream:
            seen += batch["index"].tolist()
    assert seen == [0, 1, 2, 3]
    moved.rename(file)
    assert _flat(_indices(stream)) == list(range(4, 12))
    assert _flat(_indices(stream)) == list(range(12))


def test_several_stores_are_a_stream_too(whole):
    stream = TorchStream(open_store([whole, whole], weights=[1, 3]), 5, seed=3, fields=["image"])
    stores_seen = torch.cat([batch["store"] for batch in stream])
    assert len(stores_seen) == 100
    assert set(stores_seen.tolist()) == {0, 1}


def test_memory_does_not_grow_from_epoch_to_epoch(reader):
    stream = TorchStream(reader, 10, seed=3, padded={"objects": 6000})  # 5 MB an epoch
    sizes = []
    for _ in range(24):
        for batch in stream:
            assert batch["objects"].shape == (10, 6000, 2)
        sizes.append(psutil.Process().memory_info().rss)
    assert sizes[-1] - sizes[7] < 24 << 20


# What is refused


def test_one_process_of_many_that_does_not_know_its_rank_is_refused(reader, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    stream = TorchStream(reader, 4)
    with pytest.raises(ValueError, match=r"WORLD_SIZE is 2, but torch\.distributed is not init"):
        iter(stream)
    assert len(TorchStream(reader, 4, rank=1, ranks=2)) == COUNT // 8


@pytest.mark.parametrize("options", [{"rank": 1}, {"out": []}, {"epochs": 2}])
def test_options_that_do_not_fit_are_refused(reader, options):
    with pytest.raises(ValueError, match=r"=.*(give both|is not for TorchStream)"):
        TorchStream(reader, 4, **options)


def test_a_path_is_to_be_opened_first():
    with pytest.raises(TypeError, match=r"open_store\('cxr\.zarr'\)"):
        TorchStream("cxr.zarr", 4)


# Pinned memory


def test_pinned_batches_are_read_into_memory_that_nobody_holds(reader, monkeypatch):
    made = []

    def locked(shape, dtype):
        made.append(torch.empty(shape, dtype=dtype))
        return made[-1]

    monkeypatch.setattr(torch_memory, "_locked", locked)
    how = {"scale": {"mask": (0.1, 0.0)}, "crop": {"x": 4}, "fields": ["image", "mask", "runs"]}
    stream = TorchStream(reader, 4, seed=3, end="uneven", pin_memory=True, **how)
    batches = list(stream)
    addresses = {m.data_ptr() for m in made}
    for name in ("image", "mask"):
        held = [b[name].data_ptr() for b in batches]
        assert set(held) <= addresses
        assert len(set(held)) == len(batches)
    for ours, theirs in zip(batches, reader.batches(4, seed=3, end="uneven", **how), strict=True):
        assert stores.same(
            {k: Rows(*v) if isinstance(v, tuple) else v.numpy() for k, v in ours.items()}, theirs
        )


@pytest.mark.gpu
def test_pinned_memory_is_pinned(reader):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    batches = [(b, b["image"].to("cuda", non_blocking=True)) for b in TorchStream(reader, 4)]
    for batch, there in batches:
        assert batch["image"].is_pinned()
        assert torch.equal(there.cpu(), batch["image"])


# Worker processes

WORKERS = """
import multiprocessing, time, torch
from pathlib import Path
from torch.utils.data import DataLoader
from voxelmill.engine.reader import open_store
from voxelmill.engine.to_torch import TorchSamples, TorchStream

def indices(loader, most=10**9):
    found = []
    for batch in loader:
        found.append(batch["index"].tolist())
        if len(found) == most:
            break
    return found

def error_of(loader):
    taken = iter(loader)
    try:
        for _ in taken:
            pass
    except OSError as error:
        return f"{type(error).__name__} {error}"
    finally:
        taken._shutdown_workers()  # torch takes 10 s when the garbage collector does it

if __name__ == "__main__":
    path, method, found = sys.argv[1], sys.argv[2], {}
    if method == "forkserver":
        multiprocessing.set_forkserver_preload(["torch", "voxelmill.engine.to_torch"])
    how = {"num_workers": 2, "multiprocessing_context": method, "timeout": 40}
    reader = open_store(path)
    reader[3]  # threads and files of the parent
"""

EVERY_METHOD = """
    stream = TorchStream(reader, 4, seed=3)
    loader = DataLoader(stream, batch_size=None, persistent_workers=True, **how)
    found["epochs"] = [indices(loader), indices(loader)]
    stream.set_epoch(5)
    found["epochs"].append(indices(loader))
    del loader
"""

FORKED = """
    stream = TorchStream(reader, 4, seed=3)
    indices(stream, 2)
    loader = DataLoader(stream, batch_size=None, **how)
    found["after a break"] = [indices(loader, 5), indices(loader)]
    try:
        stream.state_dict()
    except OSError as error:
        found["state"] = str(error)
    found["late"] = []
    for epoch in (None, 6):  # the second worker of a pass that was left begins behind the next
        late = [True]
        stream = TorchStream(reader, 4, seed=3)
        begin = lambda worker: time.sleep(worker if late[0] else 0)
        loader = DataLoader(stream, batch_size=None, worker_init_fn=begin, **how)
        left = iter(loader)
        next(left)
        late[0] = False
        if epoch is not None:
            stream.set_epoch(epoch)
        found["late"].append(indices(loader))
        left._shutdown_workers()
    stream, found["seeded"] = TorchStream(reader, 4, seed=3), []
    for _ in range(3):
        torch.manual_seed(0)
        found["seeded"].append(indices(DataLoader(stream, batch_size=None, **how)))
    for rank in (0, 1):
        stream = TorchStream(reader, 4, seed=3, rank=rank, ranks=2, end="uneven")
        found[rank] = indices(DataLoader(stream, batch_size=None, **how | {"num_workers": 3}))
    samples = TorchSamples(reader, ["image"])
    found["samples"] = indices(DataLoader(samples, batch_size=5, shuffle=True, **how))
    found["values"] = [
        reader[int(i)]["image"].tolist() == image.tolist()
        for batch in DataLoader(samples, batch_size=5, **how)
        for i, image in zip(batch["index"], batch["image"])
    ]
    other = open_store(path, way="tensorstore")
    other[3]
    found["tensorstore"] = error_of(DataLoader(TorchStream(other, 4), batch_size=None, **how))
    shard = next((Path(path) / "image" / "c" / "2").rglob("0"))
    shard.rename(path + ".away")
    stream = TorchStream(open_store(path), 4, shuffle=False)
    found["damaged"] = error_of(DataLoader(stream, batch_size=None, **how))
    Path(path + ".away").rename(shard)
"""

STATEFUL_WORKERS = """
    import warnings
    warnings.simplefilter("ignore")
    from torchdata.stateful_dataloader import StatefulDataLoader

    def loader(state=None, workers=2, **options):
        made = StatefulDataLoader(
            TorchStream(reader, 4, seed=3, **options), batch_size=None,
            **how | {"num_workers": workers}
        )
        if state is not None:
            made.load_state_dict(state)
        return made

    for steps in (0, 1, 5, 11, 12):
        first = loader()
        taken = iter(first)
        head = [next(taken)["index"].tolist() for _ in range(steps)]
        state = json.loads(json.dumps(first.state_dict()))
        del taken, first
        second = loader(state)
        found[f"head {steps}"] = [head + indices(second), indices(second)]
    again = loader(second.state_dict())
    found["after the end"] = indices(again)
    try:  # here it comes before the first batch
        iter(loader(state, rank=0, ranks=2))
    except OSError as error:
        found["ranks"] = str(error)
"""

PRINT = """
    print(json.dumps(found))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_share_the_batches_and_keep_their_order(whole, reader, tmp_path, method):
    code = WORKERS + EVERY_METHOD + PRINT
    found = scripts.result(scripts.start(tmp_path, method, code, [whole, method]), 120)
    assert found["epochs"] == [_epoch(reader, epoch=e) for e in (0, 1, 5)]


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forked")
    path = stores.make(folder / "x.zarr", stores.describe(COUNT))
    code = WORKERS + EVERY_METHOD + FORKED + STATEFUL_WORKERS + PRINT
    return scripts.result(scripts.start(folder, "forked", code, [path, "fork"]), 120)


def test_forked_workers_share_the_batches_and_keep_their_order(reader, forked):
    assert forked["epochs"] == [_epoch(reader, epoch=e) for e in (0, 1, 5)]
    assert forked["after a break"] == [_epoch(reader, epoch=1)[:5], _epoch(reader, epoch=2)]
    assert "only they know how far" in forked["state"]
    assert forked["late"] == [_epoch(reader, epoch=e) for e in (1, 6)]
    assert forked["seeded"] == [_epoch(reader, epoch=e) for e in (0, 1, 2)]


def test_forked_workers_of_two_ranks_have_each_sample_once(reader, forked):
    assert _flat(forked["0"] + forked["1"]) == list(range(COUNT))
    for rank in (0, 1):
        assert forked[str(rank)] == _epoch(reader, rank=rank, ranks=2, end="uneven")


def test_forked_workers_read_samples_by_number(forked):
    assert _flat(forked["samples"]) == list(range(COUNT))
    assert all(forked["values"])


def test_tensorstore_under_fork_is_refused_in_words(forked):
    assert forked["tensorstore"].startswith("StoreError")
    assert "threads do not survive a fork" in forked["tensorstore"]


def test_an_error_in_a_worker_reaches_the_loop(forked):
    assert forked["damaged"].startswith("StoreError")
    assert "image/c/2" in forked["damaged"]


def test_a_stateful_loader_with_workers_goes_on(reader, forked):
    for steps in (0, 1, 5, 11, 12):
        assert forked[f"head {steps}"] == [_epoch(reader), _epoch(reader, epoch=1)], steps
    assert forked["after the end"] == _epoch(reader, epoch=2)
    assert "with worker processes, as many must go on" in forked["ranks"]


@STATEFUL
def test_a_stateful_loader_without_workers_goes_on_on_other_ranks(reader):
    from torchdata.stateful_dataloader import StatefulDataLoader

    def loader(**options):
        return StatefulDataLoader(TorchStream(reader, 4, seed=3, **options), batch_size=None)

    first = loader(end="uneven")
    head = _indices(first, 5)
    state = json.loads(json.dumps(first.state_dict()))
    rest = []
    for rank in range(2):
        other = loader(end="uneven", rank=rank, ranks=2)
        other.load_state_dict(state)
        rest += _indices(other)
        assert _indices(other) == _epoch(reader, epoch=1, end="uneven", rank=rank, ranks=2)
    assert _flat(head + rest) == list(range(COUNT))


# Several processes that train

DISTRIBUTED = """
import torch.distributed as dist
from voxelmill.engine.reader import open_store
from voxelmill.engine.to_torch import TorchStream

if __name__ == "__main__":
    path, rank, port = sys.argv[1:]
    stream = TorchStream(open_store(path), 4, seed=3, end="uneven")
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=int(rank), world_size=2
    )
    taken = iter(stream)
    found = {"first": [next(taken)["index"].tolist() for _ in range(3)]}
    found["state"] = stream.state_dict()
    found["rest"] = [batch["index"].tolist() for batch in taken]
    dist.barrier()
    dist.destroy_process_group()
    print(json.dumps(found))
"""


def test_ranks_come_from_torch_distributed(whole, reader, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    running = [
        scripts.start(tmp_path, f"rank{r}", DISTRIBUTED, [whole, r, port], **environment)
        for r in range(2)
    ]
    found = [scripts.result(process) for process in running]
    for rank in range(2):
        due = _epoch(reader, rank=rank, ranks=2, end="uneven")
        assert found[rank]["first"] + found[rank]["rest"] == due
    assert found[0]["state"] == found[1]["state"]
    one = TorchStream(reader, 4, seed=3, end="uneven")  # goes on alone
    one.load_state_dict(found[0]["state"])
    seen = found[0]["first"] + found[1]["first"] + _indices(one)
    assert _flat(seen) == list(range(COUNT))


# Samples by number


def test_samples_are_read_one_list_at_a_time(reader, monkeypatch):
    begun = []
    begin = reader.begin
    monkeypatch.setattr(reader, "begin", lambda i, *a: begun.append(len(i)) or begin(i, *a))
    samples = TorchSamples(reader)
    assert len(samples) == COUNT
    loader = DataLoader(samples, batch_size=8, shuffle=True, collate_fn=samples.collate)
    for batch in loader:
        theirs = reader.start(batch["index"].numpy()).result()
        assert batch.keys() == theirs.keys()
        ours = {k: Rows(*v) if isinstance(v, tuple) else v.numpy() for k, v in batch.items()}
        assert stores.same(ours, theirs)
    assert [n for n in begun if n != 8] in ([2, 2], [2])
    assert len(begun) == 2 * len(loader)


def test_a_sample_by_number(reader):
    sample, made = TorchSamples(reader, ["image", "objects"])[7], stores.sample(7)
    np.testing.assert_array_equal(sample["image"].numpy(), made["image"])
    np.testing.assert_array_equal(sample["objects"].numpy(), made["objects"])
    for wrong in (COUNT, -1):
        with pytest.raises(IndexError, match=r"not in \[0, 50\)"):
            TorchSamples(reader)[wrong]

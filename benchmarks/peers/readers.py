"""The loaders that a trainer could take instead, each as its users tune it, over the same bytes.

A peer has `write(folder, arrays)`, which stores the arrays (sample, ...) by name once, and
`open(folder, arrays, batch, workers)`, which gives a function epoch -> iterator of shuffled
batches by name; `arrays` is for shapes and dtypes only. `WORKERS` are the numbers of worker
processes that are tried; the better one counts. Nothing is compressed in any peer, but what it
compresses by default. Where a peer knows no exact shuffle, its own usual one is taken.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, Any]
Epoch = Callable[[int], Iterator[Mapping[str, Any]]]
ROWS_A_FILE = 512  # samples a shard, for peers that have shards


class Peer:
    """One loader; `package` is what must be installed, `shuffle` says which shuffle it knows."""

    package = ""
    shuffle = "exact"
    workers: tuple[int, ...] = (0, 2)

    def write(self, folder: Path, arrays: Arrays) -> None:
        """Store the arrays in `folder`."""
        raise NotImplementedError

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """What gives the batches of an epoch."""
        raise NotImplementedError


def _torch_epochs(dataset: Any, batch: int, workers: int, seeded: bool = True) -> Epoch:
    """A DataLoader over a map-style data set, its workers kept alive."""
    import torch
    from torch.utils.data import DataLoader

    generator = torch.Generator()
    loader = DataLoader(
        dataset,
        batch_size=batch,
        shuffle=seeded,
        drop_last=True,
        generator=generator,
        **_worker_options(workers),
    )

    def epoch(number: int) -> Iterator[Any]:
        generator.manual_seed(number)
        return iter(loader)

    return epoch


def _worker_options(workers: int) -> dict[str, Any]:
    options: dict[str, Any] = {"num_workers": workers}
    if workers:
        options |= {"persistent_workers": True, "prefetch_factor": 4}
    return options


def _samples(arrays: Arrays) -> Iterator[tuple[int, dict[str, Any]]]:
    for i in range(len(next(iter(arrays.values())))):
        yield i, {name: a[i] for name, a in arrays.items()}


class MosaicStreaming(Peer):
    """MDS shards with ndarray columns, read from a local folder."""

    package = "streaming"
    shuffle = "py1e (shards, then blocks)"

    def write(self, folder: Path, arrays: Arrays) -> None:
        """64 MiB shards, its default, not compressed."""
        from peers.stand_ins import without

        with without("torchvision", "transformers"):
            from streaming import MDSWriter
        columns = {
            n: f"ndarray:{a.dtype}:{','.join(map(str, a.shape[1:]))}" for n, a in arrays.items()
        }
        with MDSWriter(out=str(folder), columns=columns) as out:
            for _, sample in _samples(arrays):
                out.write(sample)

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """StreamingDataset in a DataLoader."""
        from peers.stand_ins import without

        with without("torchvision", "transformers"):
            from streaming import StreamingDataset
            from streaming.base.util import clean_stale_shared_memory
        from torch.utils.data import DataLoader

        clean_stale_shared_memory()
        dataset = StreamingDataset(local=str(folder), shuffle=True, batch_size=batch)
        loader = DataLoader(dataset, batch_size=batch, drop_last=True, **_worker_options(workers))
        return lambda number: iter(loader)


class LitData(Peer):
    """Optimized chunks, read from a local folder."""

    package = "litdata"
    shuffle = "chunks, then inside"

    def write(self, folder: Path, arrays: Arrays) -> None:
        """64 MB chunks, its usual size, not compressed."""
        from litdata.streaming.writer import BinaryWriter

        writer = BinaryWriter(str(folder), chunk_bytes="64MB")
        for i, sample in _samples(arrays):
            writer[i] = sample
        writer.done()
        writer.merge(1)

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """StreamingDataset in its own StreamingDataLoader."""
        from litdata import StreamingDataLoader, StreamingDataset

        dataset = StreamingDataset(str(folder), shuffle=True, drop_last=True)
        loader = StreamingDataLoader(
            dataset, batch_size=batch, drop_last=True, **_worker_options(workers)
        )
        return lambda number: iter(loader)


class WebDataset(Peer):
    """Tar files of one .npy a field, read as a stream with a shuffle buffer."""

    package = "webdataset"
    shuffle = "shards, then a buffer of 512"

    def write(self, folder: Path, arrays: Arrays) -> None:
        """256 samples a tar."""
        import webdataset as wds

        with wds.ShardWriter(str(folder / "%04d.tar"), maxcount=256, verbose=0) as out:
            for i, sample in _samples(arrays):
                out.write({"__key__": f"{i:08d}", **{f"{n}.npy": a for n, a in sample.items()}})

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """WebDataset -> shuffle -> decode -> batched, then WebLoader."""
        import webdataset as wds

        names = [f"{n}.npy" for n in arrays]
        tars = sorted(map(str, folder.glob("*.tar")))
        dataset = (
            wds.WebDataset(tars, shardshuffle=len(tars), workersplitter=wds.split_by_worker)
            .shuffle(512)
            .decode()
            .to_tuple(*names)
            .batched(batch, partial=False)
        )
        loader = wds.WebLoader(dataset, batch_size=None, **_worker_options(workers))
        return lambda number: (dict(zip(arrays, found, strict=True)) for found in loader)


class GrainArrayRecord(Peer):
    """ArrayRecord files of raw bytes through grain.MapDataset; threads, or processes."""

    package = "array_record"

    def write(self, folder: Path, arrays: Arrays) -> None:
        """group_size 1, as for random access; not compressed."""
        from array_record.python.array_record_module import ArrayRecordWriter

        writer = None
        for i, sample in _samples(arrays):
            if i % ROWS_A_FILE == 0:
                if writer is not None:
                    writer.close()
                name = str(folder / f"{i // ROWS_A_FILE:05d}.array_record")
                writer = ArrayRecordWriter(name, "group_size:1,uncompressed")
            writer.write(b"".join(np.ascontiguousarray(a).tobytes() for a in sample.values()))
        writer.close()

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """source -> shuffle -> parse -> batch -> 4 threads (better here than 16) or processes."""
        import grain
        from absl import flags

        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # its processes ask for flags, which pytest does not parse

        source = grain.sources.ArrayRecordDataSource(
            sorted(map(str, folder.glob("*.array_record")))
        )
        kinds = {n: (a.dtype, a.shape[1:]) for n, a in arrays.items()}
        parse = _Parse(kinds)

        def epoch(number: int) -> Iterator[Any]:
            found = grain.MapDataset.source(source).shuffle(seed=number).map(parse)
            found = found.batch(batch, drop_remainder=True)
            options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
            found = found.to_iter_dataset(options)
            if workers:
                found = found.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
            return iter(found)

        return epoch


class _Parse:
    """Bytes -> arrays; at module level, for processes."""

    def __init__(self, kinds: Mapping[str, Any]) -> None:
        self._kinds = kinds

    def __call__(self, data: bytes) -> dict[str, Any]:
        out, at = {}, 0
        for name, (dtype, shape) in self._kinds.items():
            count = int(np.prod(shape))
            out[name] = np.frombuffer(data, dtype, count, at).reshape(shape)
            at += count * dtype.itemsize
        return out


class H5py(Peer):
    """One HDF5 file, a chunk a sample, not compressed, a file handle a process."""

    package = "h5py"

    def write(self, folder: Path, arrays: Arrays) -> None:
        """Chunks of one sample."""
        import h5py

        with h5py.File(folder / "all.h5", "w") as out:
            for name, a in arrays.items():
                out.create_dataset(name, data=a, chunks=(1, *a.shape[1:]))

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """A map-style data set in a DataLoader."""
        return _torch_epochs(
            _H5(folder / "all.h5", len(_first(arrays)), list(arrays)), batch, workers
        )


class _H5:
    def __init__(self, path: Path, count: int, names: list[str]) -> None:
        self.path, self.count, self.names = path, count, names
        self._sets: Any = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        if self._sets is None:
            import h5py

            file = h5py.File(self.path, "r")
            self._sets = {n: file[n] for n in self.names}
        return {n: s[i] for n, s in self._sets.items()}


class Npz(Peer):
    """One .npz a sample, not compressed."""

    package = "numpy"

    def write(self, folder: Path, arrays: Arrays) -> None:
        """As nnU-Net and many home-made sets do."""
        for i, sample in _samples(arrays):
            np.savez(folder / f"{i:08d}.npz", **sample)

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """A map-style data set in a DataLoader."""
        return _torch_epochs(_Npz(folder, len(_first(arrays))), batch, workers)


class _Npz:
    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        with np.load(self.folder / f"{i:08d}.npz") as found:
            return dict(found)


class ZarrPython(Peer):
    """Zarr v3, one chunk a sample and no shards, which zarr-python reads faster; not compressed."""

    package = "zarr"

    def write(self, folder: Path, arrays: Arrays) -> None:
        """One chunk a sample."""
        import zarr

        group = zarr.open_group(folder / "all.zarr", mode="w")
        for name, a in arrays.items():
            out = group.create_array(
                name, shape=a.shape, dtype=a.dtype, chunks=(1, *a.shape[1:]), compressors=None
            )
            for first in range(0, len(a), 64):
                out[first : first + 64] = a[first : first + 64]

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """A map-style data set in a DataLoader; its event loop does not live through a fork."""
        return _torch_epochs(
            _Zarr(folder / "all.zarr", len(_first(arrays)), list(arrays)), batch, workers
        )


class _Zarr:
    def __init__(self, path: Path, count: int, names: list[str]) -> None:
        self.path, self.count, self.names = path, count, names
        self._arrays: Any = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        if self._arrays is None:
            import zarr

            group = zarr.open_group(self.path, mode="r")
            self._arrays = {n: group[n] for n in self.names}
        return {n: a[i] for n, a in self._arrays.items()}


class HuggingFace(Peer):
    """Arrow files of fixed-shape arrays, memory-mapped, with the numpy or torch format."""

    package = "datasets"

    def write(self, folder: Path, arrays: Arrays) -> None:
        """Rows of binary: Array2D columns read several times slower."""
        import datasets

        features = datasets.Features({n: datasets.Value("large_binary") for n in arrays})
        with tempfile.TemporaryDirectory() as cache:

            def rows() -> Iterator[dict[str, bytes]]:
                for _, sample in _samples(arrays):
                    yield {n: np.ascontiguousarray(a).tobytes() for n, a in sample.items()}

            found = datasets.Dataset.from_generator(rows, features=features, cache_dir=cache)
            found.save_to_disk(str(folder / "all"))

    def open(self, folder: Path, arrays: Arrays, batch: int, workers: int) -> Epoch:
        """A map-style data set in a DataLoader, its rows parsed by `np.frombuffer`."""
        import datasets

        found = datasets.load_from_disk(str(folder / "all"))
        return _torch_epochs(
            _Rows(found, {n: (a.dtype, a.shape[1:]) for n, a in arrays.items()}), batch, workers
        )


class _Rows:
    def __init__(self, found: Any, kinds: Mapping[str, Any]) -> None:
        self.found, self.kinds = found, kinds

    def __len__(self) -> int:
        return len(self.found)

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        columns = self.found[indices]
        return [
            {
                n: np.frombuffer(bytearray(columns[n][i]), dtype).reshape(shape)
                for n, (dtype, shape) in self.kinds.items()
            }
            for i in range(len(indices))
        ]


def _first(arrays: Arrays) -> Any:
    return next(iter(arrays.values()))


PEERS: dict[str, Peer] = {
    "mosaicml-streaming": MosaicStreaming(),
    "litdata": LitData(),
    "webdataset": WebDataset(),
    "grain-arrayrecord": GrainArrayRecord(),
    "h5py": H5py(),
    "npz": Npz(),
    "zarr-python": ZarrPython(),
    "huggingface-datasets": HuggingFace(),
}

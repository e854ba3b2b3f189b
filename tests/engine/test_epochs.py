"""From one epoch of a stream to the next."""

import numpy as np
import pytest
import stores

from voxelmill.engine.reader import open_store


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return open_store(stores.make(tmp_path_factory.mktemp("stores") / "x.zarr"))


@pytest.mark.parametrize("ahead", [0, 1, 2])
@pytest.mark.parametrize("leave", [None, 1, 3])
def test_a_batch_keeps_its_buffer_into_the_next_epoch(reader, ahead, leave):
    """As many more batches as are promised, also behind a loop that was left."""
    buffers = [{"image": np.zeros((2, 5, 7), np.float32)} for _ in range(5)]
    stream = reader.batches(2, seed=1, fields=["image"], out=buffers, ahead=ahead, epochs=None)
    kept = []
    for step in range(23):
        if step == leave:
            stream.load_state_dict(stream.state_dict())
        if step % 9 == 0:
            stream.set_epoch(step)
        image = next(iter(stream))["image"]
        kept.append((image, image.copy()))
        for earlier, due in kept[-(len(buffers) - ahead) :]:
            np.testing.assert_array_equal(earlier, due)


def test_an_epoch_that_is_set_behind_the_last_one_begins(reader):
    stream = reader.batches(4, seed=1)
    seen = []
    for epoch in range(3):
        stream.set_epoch(epoch)
        seen.append([next(stream)["index"].tolist() for _ in range(len(stream))])
        with pytest.raises(StopIteration):
            next(stream)
    due = [
        [b["index"].tolist() for b in reader.batches(4, seed=1, epoch=epoch)] for epoch in range(3)
    ]
    assert seen == due

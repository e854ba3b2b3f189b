"""Resuming in the middle of an epoch under the trainers that docs/training.md names.

    pip install -e ".[trainers]" && python -m pytest --slow tests/engine/test_trainers.py

Their imports take longer than all of it. Each case is skipped where its package is lacking.
"""

import itertools

import pytest
import stores
import torch
from torch.utils.data import DataLoader

from voxelmill.engine.reader import open_store
from voxelmill.engine.to_torch import TorchStream

COUNT, SIZE, STEPS = 50, 4, 12
STOP = 17  # steps: in the second epoch
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def needed(package):
    return pytest.importorskip(package, reason=f"slow, and it needs {package}: extra `trainers`")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    path = stores.make(tmp_path_factory.mktemp("trainers") / "x.zarr", stores.describe(COUNT))
    return open_store(path)


def _stream(reader):
    return TorchStream(reader, SIZE, seed=3, fields=["image"])


def _due(reader, epochs):
    return [
        batch["index"].tolist()
        for epoch in range(epochs)
        for batch in reader.batches(SIZE, seed=3, epoch=epoch, fields=["image"])
    ]


def _loss(model, image):
    return model(image.flatten(1)).square().mean()


@pytest.mark.parametrize("how", ["stream", "stateful loader"])
def test_lightning_goes_on_inside_an_epoch(reader, tmp_path, how):
    lightning = needed("lightning")
    from lightning.pytorch.callbacks import ModelCheckpoint

    if how == "stateful loader":
        loaders = needed("torchdata.stateful_dataloader")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.seen = torch.nn.Linear(35, 1), []

        def training_step(self, batch, number):
            self.seen.append(batch["index"].tolist())
            return _loss(self.model, batch["image"])

        def validation_step(self, batch, number):
            assert len(batch["index"]) == SIZE

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-6)

    def run(steps, checkpoint=None):
        module, train = Module(), _stream(reader)
        if how == "stateful loader":
            train = loaders.StatefulDataLoader(train, batch_size=None)
        trainer = lightning.Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            callbacks=[ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=STOP)],
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(
            module, train, TorchStream(reader, SIZE, shuffle=False, end="pad"), ckpt_path=checkpoint
        )
        return module.seen

    due = _due(reader, 3)
    first = run(STOP)
    assert first == due[:STOP]
    assert first + run(3 * STEPS, tmp_path / f"step={STOP}.ckpt") == due


def test_accelerate_keeps_the_state_of_a_stream(reader, tmp_path):
    accelerate = needed("accelerate")

    def prepared():
        accelerator = accelerate.Accelerator(cpu=True)
        model = torch.nn.Linear(35, 1)
        model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 1e-6))
        place = {"rank": accelerator.process_index, "ranks": accelerator.num_processes}
        stream = TorchStream(reader, SIZE, seed=3, fields=["image"], **place)
        accelerator.register_for_checkpointing(stream)
        return accelerator, model, optimizer, stream

    def steps(accelerator, model, optimizer, stream, most=None):
        seen = []
        for batch in itertools.islice(stream, most):
            accelerator.backward(_loss(model, batch["image"].to(accelerator.device)))
            optimizer.step()
            seen.append(batch["index"].tolist())
        return seen

    due = _due(reader, 3)
    first = prepared()
    head = steps(*first) + steps(*first, most=STOP - STEPS)
    first[0].save_state(str(tmp_path / "here"))
    second = prepared()
    second[0].load_state(str(tmp_path / "here"))
    assert head + steps(*second) + steps(*second) == due


@pytest.mark.parametrize("skip", [True, False])
def test_the_trainer_of_hugging_face_goes_on_inside_an_epoch(reader, tmp_path, skip):
    transformers = needed("transformers")
    needed("accelerate")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.seen = torch.nn.Linear(35, 1), []

        def forward(self, image, index):
            self.seen.append(index.tolist())
            return {"loss": _loss(self.model, image)}

    class Keeper(transformers.TrainerCallback):
        """As in docs/training.md: either keeps the state, or only tells the epoch."""

        def __init__(self, stream):
            self.stream = stream

        def on_train_begin(self, args, state, control, **others):
            if not skip:
                self.stream.set_epoch(int(state.epoch or 0))

        def on_save(self, args, state, control, **others):
            torch.save(self.stream.state_dict(), tmp_path / f"stream{state.global_step}")

    class StoreTrainer(transformers.Trainer):
        def get_train_dataloader(self):
            return DataLoader(self.stream, batch_size=None)

    def run(steps, checkpoint=None):
        model, stream = Model(), _stream(reader)
        words = transformers.TrainingArguments(
            str(tmp_path),
            max_steps=steps,
            save_strategy="steps",
            save_steps=STOP,
            per_device_train_batch_size=SIZE,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            ignore_data_skip=skip,
        )
        if checkpoint is not None and skip:
            stream.load_state_dict(torch.load(tmp_path / f"stream{STOP}"))
        trainer = StoreTrainer(model, words, callbacks=[Keeper(stream)])
        trainer.stream = stream
        trainer.train(resume_from_checkpoint=checkpoint)
        return model.seen

    due = _due(reader, 3)
    first = run(STOP)
    assert first == due[:STOP]
    assert first + run(3 * STEPS, str(tmp_path / f"checkpoint-{STOP}")) == due

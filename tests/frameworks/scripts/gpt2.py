"""A small GPT-2 with the Trainer of transformers, on texts with padding."""

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, TrainerCallback, TrainingArguments

import pangea
import pangea.transformers

LENGTH = 32


class Texts(Dataset[dict[str, torch.Tensor]]):
    """Texts of different lengths, padded to LENGTH with labels that do not count."""

    def __init__(self, first: int, texts: int) -> None:
        self.numbers = range(first, first + texts)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        number = self.numbers[index]
        tokens = (torch.arange(LENGTH) * (1 + number % 5) + number) % 61
        labels = torch.where(torch.arange(LENGTH) < LENGTH - number % 16, tokens, -100)
        return {"input_ids": tokens, "labels": labels}


class Calls(TrainerCallback):  # type: ignore[misc]  # the package is not there when types are checked
    """Counts what a callback of a Trainer is told."""

    def __init__(self) -> None:
        self.steps = self.epochs = self.evaluations = 0

    def on_step_end(self, *_: object, **__: object) -> None:
        self.steps += 1

    def on_epoch_end(self, *_: object, **__: object) -> None:
        self.epochs += 1

    def on_evaluate(self, *_: object, **__: object) -> None:
        self.evaluations += 1


pangea.seed_everything()
config = GPT2Config(vocab_size=64, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
calls = Calls()
trainer = pangea.transformers.PangeaTrainer(
    model=GPT2LMHeadModel(config),
    args=TrainingArguments(
        "unused",
        num_train_epochs=2,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=3e-3,
        lr_scheduler_type="cosine",
        warmup_steps=2,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=5,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    ),
    train_dataset=Texts(0, 100),
    eval_dataset=Texts(1000, 24),
    callbacks=[calls],
)
output = trainer.train()
assert output.global_step == 14, output
assert (calls.epochs, calls.evaluations) == (2, 2)
assert 1 <= calls.steps <= 14

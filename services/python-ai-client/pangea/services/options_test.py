"""The options of a run become flags of the orchestrator."""

from pangea.services.options import RunOptions


def test_options_become_flags() -> None:
    assert RunOptions(epochs=3, checkpoint_seconds=0.5).flags() == [
        "--epochs=3",
        "--batch-size=64",
        "--shards=8",
        "--seed=0",
        "--checkpoint-steps=0",
        "--checkpoint-seconds=0.5",
        "--keep-checkpoints=3",
        "--verify-fraction=0.0",
        "--straggler-k=5.0",
    ]
    others = {"--min-shard-samples=0", "--drop-last=true", "--strict=false", "--take-changes=true"}
    assert others <= set(RunOptions(strict=False, take_changes=True, drop_last=True, min_shard_samples=0).flags())

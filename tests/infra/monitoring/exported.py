"""What services export: the samples of /metrics pages, parsed by Prometheus' own client library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

# The labels that Prometheus adds to each sample.
TARGET_LABELS = frozenset({"job", "instance"})


@dataclass
class Metric:
    """The samples of one name."""

    counts: bool
    """Whether it only grows, so that rate() and increase() are meaningful."""
    values: dict[str, set[str]] = field(default_factory=dict)
    """Each label with its values."""


def _counts(kind: str, name: str) -> bool:
    return kind == "counter" or (kind in ("histogram", "summary") and name.endswith(("_bucket", "_count", "_sum")))


def exported(pages: Iterable[str]) -> dict[str, Metric]:
    """All metrics of the pages by the name of their samples, with `up`, which Prometheus makes itself."""
    metrics = {"up": Metric(counts=False)}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                metric = metrics.setdefault(sample.name, Metric(_counts(family.type, sample.name)))
                for label, value in sample.labels.items():
                    metric.values.setdefault(label, set()).add(value)
    return metrics

"""The queries of infra/prometheus and infra/grafana, each with its place and the labels that are shown around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ALERTS = Path("infra/prometheus/alerts.yaml")
DASHBOARD = Path("infra/grafana/pangea.json")
SCRAPES = Path("infra/prometheus/prometheus.yaml")
SCRAPES_KUBERNETES = Path("infra/prometheus/prometheus-kubernetes.yaml")

# Values of the kind that Grafana substitutes for its variables.
_VARIABLES = {"$run": ".+", "$__rate_interval": "1m", "$__range": "1h"}


@dataclass(frozen=True)
class Query:
    """One PromQL expression."""

    place: str
    text: str
    shown: frozenset[str]
    """The labels that a legend or an annotation shows; the result has to have them."""


def rules() -> list[dict[str, Any]]:
    """All alert rules."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return dict(json.loads(DASHBOARD.read_text()))


def jobs() -> list[str]:
    """The names of the scrape jobs."""
    return [scrape["job_name"] for scrape in yaml.safe_load(SCRAPES.read_text())["scrape_configs"]]


def _of_alerts() -> Iterator[Query]:
    for rule in rules():
        shown = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
        yield Query(f"{ALERTS}: {rule['alert']}", rule["expr"], frozenset(shown))


def _of_panels() -> Iterator[Query]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"]
            for variable, value in _VARIABLES.items():
                text = text.replace(variable, value)
            shown = re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"])
            yield Query(f"{DASHBOARD}: {panel['title']} {target['refId']}", text, frozenset(shown))


def _of_variables() -> Iterator[Query]:
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            if found is None:
                raise ValueError(
                    f"{DASHBOARD}: this test does not support the query of {variable['name']}: {variable['query']}"
                )
            yield Query(f"{DASHBOARD}: variable {variable['name']}", found[1], frozenset({found[2]}))


def queries() -> list[Query]:
    """Returns the queries of all panels and alerts."""
    return [*_of_alerts(), *_of_panels(), *_of_variables()]

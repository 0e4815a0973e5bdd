"""Checks a PromQL expression against the exported metrics: names, labels, their values, counters, and the result.

The parser is the crate GreptimeTeam/promql-parser; the rules for labels are those of
https://prometheus.io/docs/prometheus/latest/querying/operators/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import promql_parser as promql

from tests.infra.monitoring.exported import TARGET_LABELS, Metric

_OF_COUNTERS = {"rate", "increase", "irate"}


class Wrong(Exception):
    """The expression asks for something that no service exports."""


class Checker:
    """Checks expressions against one set of exported metrics."""

    def __init__(self, metrics: dict[str, Metric], jobs: Iterable[str]) -> None:
        self._metrics, self._jobs = metrics, set(jobs)

    def labels(self, text: str) -> frozenset[str]:
        """The labels of the expression's result.

        Raises:
            Wrong: something is not exported; the message says what.
            ValueError: the text is not PromQL.
        """
        return self._labels(promql.parse(text))

    def _labels(self, expression: promql.Expr) -> frozenset[str]:
        match expression:
            case promql.VectorSelector():
                return self._selected(expression)
            case promql.MatrixSelector():
                return self._selected(expression.vector_selector)
            case promql.SubqueryExpr() | promql.ParenExpr() | promql.UnaryExpr():
                return self._labels(expression.expr)
            case promql.NumberLiteral() | promql.StringLiteral():
                return frozenset()
            case promql.AggregateExpr():
                return self._aggregated(expression)
            case promql.Call():
                return self._called(expression)
            case promql.BinaryExpr():
                return self._combined(expression)
        raise Wrong(f"{type(expression).__name__} is not supported by this test")

    def _metric(self, name: str | None) -> Metric:
        if name is None or name not in self._metrics:
            raise Wrong(f"no service exports {name}")
        return self._metrics[name]

    def _selected(self, selector: promql.VectorSelector) -> frozenset[str]:
        metric = self._metric(selector.name)
        for matcher in selector.matchers.matchers:
            if matcher.name == "instance":
                continue
            known = self._jobs if matcher.name == "job" else metric.values.get(matcher.name)
            if known is None:
                raise Wrong(f"{selector.name} has no label {matcher.name}")
            # Every alternative of a pattern has to match something.
            for wanted in matcher.value.split("|"):
                if not any(re.fullmatch(wanted, value) for value in known):
                    raise Wrong(f"{selector.name} has no {matcher.name}={wanted}, only {sorted(known)}")
        return TARGET_LABELS | metric.values.keys()

    def _aggregated(self, expression: promql.AggregateExpr) -> frozenset[str]:
        inner = self._labels(expression.expr)
        if expression.modifier is None:
            return frozenset()
        named = _among(expression.modifier.labels, inner)
        return named if expression.modifier.type == promql.AggModifierType.By else inner - named

    def _called(self, call: promql.Call) -> frozenset[str]:
        if call.func.name in _OF_COUNTERS:
            name = call.args[0].vector_selector.name
            if not self._metric(name).counts:
                raise Wrong(f"{call.func.name}() of {name}, which is not a counter")
        inner = [self._labels(argument) for argument in call.args]
        if call.func.name == "absent":
            return frozenset()
        if call.func.name != "histogram_quantile":
            return frozenset().union(*inner)
        if "le" not in inner[1]:
            raise Wrong("histogram_quantile() of something without le")
        return inner[1] - {"le"}

    def _combined(self, expression: promql.BinaryExpr) -> frozenset[str]:
        left, right = self._labels(expression.lhs), self._labels(expression.rhs)
        if _is_scalar(expression.lhs) or _is_scalar(expression.rhs):
            return left | right
        if str(expression.op) == "or":
            return left & right
        modifier = expression.modifier
        matching = modifier.matching if modifier is not None else None
        named = _among(matching.labels, left | right) if matching is not None else frozenset()
        on = matching is not None and matching.type == promql.LabelModifierType.Include
        one, other = (left & named, right & named) if on else (left - named, right - named)
        if one != other:
            raise Wrong(
                f"the sides of {expression.op} are matched by {sorted(one)} and {sorted(other)}, which never meet"
            )
        if modifier is not None and modifier.card == promql.VectorMatchCardinality.OneToMany:
            return right
        return (
            left
            if str(expression.op) in ("and", "unless")
            or (modifier is not None and modifier.card == promql.VectorMatchCardinality.ManyToOne)
            else one
        )


def _is_scalar(expression: promql.Expr) -> bool:
    while isinstance(expression, promql.ParenExpr):
        expression = expression.expr
    return isinstance(expression, promql.NumberLiteral) or (
        isinstance(expression, promql.Call) and expression.func.return_type == promql.ValueType.Scalar
    )


def _among(named: Iterable[str], known: frozenset[str]) -> frozenset[str]:
    for label in named:
        if label not in known:
            raise Wrong(f"there is no label {label} to go by, only {sorted(known)}")
    return frozenset(named)

"""The models of the capture stress test, computed in Python from the rows of their sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

Key = tuple[Any, ...]
# A row of a source: its key, the value (v of r, w of b), its number. A row of a model: its key, then its values.
Source = list[tuple[Key, Any, int]]
Model = list[tuple[Any, ...]]


def _grouped(pairs: Iterable[tuple[Key, Any]]) -> dict[Key, list[Any]]:
    groups: dict[Key, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _total(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _largest(values: Iterable[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _matches(key: Key, rows: Source) -> Source:
    """Rows whose key is equal in SQL: a NULL part equals nothing."""
    return [] if None in key else [row for row in rows if row[0] == key]


def _sums(pairs: Iterable[tuple[Key, Any]]) -> Model:
    return [(*key, _total(values)) for key, values in _grouped(pairs).items()]


def _joined(r: Source, b: Source, outer: bool, by_b: bool) -> Model:
    rows: list[tuple[Key, tuple[Any, Any]]] = []
    for key, v, _ in r:
        found = _matches(key, b)
        rows += [(key, (v, w)) for _, w, _ in found]
        if outer and not found:
            rows.append(((None,) * len(key) if by_b else key, (v, None)))
    return [
        (*key, _total(v for v, _ in values), _largest(w for _, w in values)) for key, values in _grouped(rows).items()
    ]


def _full_joined(r: Source, b: Source) -> Model:
    counts: Counter[Key] = Counter()
    for key, _, _ in r:
        counts[key] += max(1, len(_matches(key, b)))
    for key, _, _ in b:
        if not _matches(key, r):
            counts[(None,) * len(key)] += 1
    return [(*key, count) for key, count in counts.items()]


def _first(r: Source, rank: Callable[[Any], Any]) -> Model:
    """Per key the value of the row that is first by ``rank`` of its value, then by its number."""
    groups = _grouped((key, (rank(v), n, v)) for key, v, n in r)
    return [(*key, min(rows, key=lambda row: row[:2])[2]) for key, rows in groups.items()]


def _few(r: Source) -> Model:
    groups = _grouped((key, v) for key, v, _ in r if v is not None and v > 1)
    return [(*key, _total(values)) for key, values in groups.items() if len(values) < 5]


def _exists(key: Key, b: Source) -> bool:
    return any(w is not None and w > 1 for _, w, _ in _matches(key, b))


def _scaled(r: Source, b: Source) -> Model:
    largest = _largest(w for _, w, _ in b)
    factor = 1 if largest is None else largest
    sums = _sums((key, v) for key, v, _ in r)
    return [(*key, None if total is None else total * factor) for *key, total in sums]


# In the order of test_stress.QUERIES; the arguments are the rows of r, b and the view seen.
ORACLES: tuple[Callable[[Source, Source, Source], Model], ...] = (
    lambda r, b, seen: _sums((key, v) for key, v, _ in r),
    lambda r, b, seen: _joined(r, b, outer=False, by_b=False),
    lambda r, b, seen: _joined(r, b, outer=True, by_b=False),
    lambda r, b, seen: _joined(r, b, outer=True, by_b=True),
    lambda r, b, seen: _full_joined(r, b),
    lambda r, b, seen: _sums((key, v) for key, v, _ in r if not _matches(key, b)),
    lambda r, b, seen: _sums((key, v) for key, v, _ in r if _exists(key, b)),
    lambda r, b, seen: _sums((key, value) for key, value, _ in [*r, *b]),
    lambda r, b, seen: _first(r, lambda v: (0, 0) if v is None else (1, -v)),
    lambda r, b, seen: _first(r, lambda v: (1, 0) if v is None else (0, v)),
    lambda r, b, seen: _scaled(r, b),
    lambda r, b, seen: _sums((key, v) for key, v, _ in r if v is not None and v > 0),
    lambda r, b, seen: _few(r),
    lambda r, b, seen: _sums((key, v) for key, v, _ in seen),
)

"""Which releases are one title: a pure question about what is known of them, whatever order it became known in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """A release of kind `game`, as far as joining looks at it."""

    key: str
    provider: str
    name: str
    """As `naming.match_name()` gives it; empty: has none."""
    year: int | None = None
    group: str | None = None
    """GamesDB's game."""
    asked: bool = False
    """False while its metadata has not been asked for: nothing is guessed before that."""


@dataclass(frozen=True, slots=True)
class Joined:
    keys: tuple[str, ...]
    """Sorted."""
    group: str | None
    guessed: bool


@dataclass(slots=True)
class _Cluster:
    """Releases that belong together without any guess."""

    members: list[Release]

    @property
    def providers(self) -> set[str]:
        return {each.provider for each in self.members}

    @property
    def years(self) -> set[int]:
        return {each.year for each in self.members if each.year is not None}

    @property
    def group(self) -> str | None:
        return self.members[0].group


def join(releases: Iterable[Release]) -> list[Joined]:
    """
    The titles, each as the keys of its releases, in the order of their first keys.

    Releases of one GamesDB group are one title. Then equal names join, marked as a guess, when the years are equal too, or
    when a year is unknown and nothing speaks against it: another year, another group, two such releases at one store. Where
    several would fit, none is joined: a wrong join is worse than two rows.
    """
    clusters = _by_group(sorted(releases, key=lambda each: each.key))
    parents = list(range(len(clusters)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for name, indexes in _by_name(clusters).items():
        for alike in _guesses(name, indexes, clusters):
            for index in alike[1:]:
                parents[root(index)] = root(alike[0])

    components: defaultdict[int, list[_Cluster]] = defaultdict(list)
    for index, cluster in enumerate(clusters):
        components[root(index)].append(cluster)
    found: list[Joined] = []
    for component in components.values():
        # Two names may have chained what does not fit as a whole: then nothing of it is guessed.
        parts = [component] if len(component) == 1 or _fit(component) else [[each] for each in component]
        for part in parts:
            keys = sorted(member.key for cluster in part for member in cluster.members)
            group = next((cluster.group for cluster in part if cluster.group), None)
            found.append(Joined(tuple(keys), group, guessed=len(part) > 1))
    return sorted(found, key=lambda each: each.keys)


def _by_group(releases: Sequence[Release]) -> list[_Cluster]:
    grouped: dict[str, _Cluster] = {}
    found: list[_Cluster] = []
    for release in releases:
        if release.group is not None and release.group in grouped:
            grouped[release.group].members.append(release)
            continue
        cluster = _Cluster([release])
        found.append(cluster)
        if release.group is not None:
            grouped[release.group] = cluster
    return found


def _by_name(clusters: Sequence[_Cluster]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, cluster in enumerate(clusters):
        for name in {each.name for each in cluster.members if each.name and each.asked}:
            found[name].append(index)
    return {name: indexes for name, indexes in found.items() if len(indexes) > 1}


def _guesses(name: str, indexes: list[int], clusters: Sequence[_Cluster]) -> list[list[int]]:
    """Lists of clusters that are the same game by *name*, as far as this name tells."""
    found: list[list[int]] = []
    by_year: defaultdict[int, list[int]] = defaultdict(list)
    for index in indexes:
        for year in {each.year for each in clusters[index].members if each.name == name and each.year is not None}:
            by_year[year].append(index)
    found.extend(alike for alike in by_year.values() if len(alike) > 1 and _fit([clusters[each] for each in alike]))
    everyone = [clusters[each] for each in indexes]
    some_unknown = any(not each.years for each in everyone)
    if some_unknown and len(set().union(*(each.years for each in everyone))) <= 1 and _fit(everyone):
        found.append(indexes)
    return found


def _fit(clusters: Sequence[_Cluster]) -> bool:
    """Whether nothing but years could speak against these being one game: one release a store, not two GamesDB groups."""
    providers = [provider for each in clusters for provider in each.providers]
    groups = {each.group for each in clusters if each.group is not None}
    return len(providers) == len(set(providers)) and len(groups) <= 1

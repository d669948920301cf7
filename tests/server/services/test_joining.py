from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from integ_server.services.joining import Joined, Release, join

NAMES = ("prey", "orbit", "keep")
STORES = ("steam", "gog", "itch")


def release(provider: str, number: int, name: str, year: int | None = None, group: str | None = None, *, asked: bool = True) -> Release:
    return Release(f"{provider}:{number}", provider, name, year, group, asked)


def parts(*releases: Release) -> list[tuple[str, ...]]:
    return [each.keys for each in join(releases)]


def test_releases_of_one_group_are_one_title_whatever_they_are_called() -> None:
    (found,) = join([release("steam", 1, "orbit", 2010, "g1"), release("gog", 2, "orbit gold", 2012, "g1", asked=False)])
    assert found == Joined(("gog:2", "steam:1"), "g1", guessed=False)


def test_an_equal_name_and_year_join_as_a_guess() -> None:
    (found,) = join([release("steam", 1, "orbit", 2010), release("gog", 2, "orbit", 2010, "g1")])
    assert found == Joined(("gog:2", "steam:1"), "g1", guessed=True)


def test_an_unknown_year_joins_while_nothing_speaks_against_it() -> None:
    assert parts(release("steam", 1, "orbit", 2010), release("gog", 2, "orbit")) == [("gog:2", "steam:1")]
    assert parts(release("steam", 1, "orbit"), release("gog", 2, "orbit")) == [("gog:2", "steam:1")]


def test_different_years_or_groups_or_two_at_one_store_are_not_joined() -> None:
    assert len(parts(release("steam", 1, "prey", 2006), release("gog", 2, "prey", 2017))) == 2
    assert len(parts(release("steam", 1, "prey", 2006, "g1"), release("gog", 2, "prey", 2006, "g2"))) == 2
    assert len(parts(release("steam", 1, "prey", 2006), release("steam", 2, "prey", 2006))) == 2


def test_where_two_would_fit_none_is_joined_by_an_unknown_year() -> None:
    assert len(parts(release("steam", 1, "prey", 2006), release("steam", 2, "prey", 2017), release("gog", 3, "prey"))) == 3
    assert parts(release("steam", 1, "prey", 2006), release("steam", 2, "prey", 2017), release("gog", 3, "prey", 2017)) == [
        ("gog:3", "steam:2"),
        ("steam:1",),
    ]


def test_nothing_is_guessed_before_the_metadata_was_asked_for() -> None:
    assert len(parts(release("steam", 1, "orbit"), release("gog", 2, "orbit", asked=False))) == 2


def test_a_chain_of_guesses_that_does_not_fit_as_a_whole_is_not_made() -> None:
    chained = [
        release("steam", 1, "orbit", 2010),
        release("gog", 2, "orbit", 2010, "g1"),
        release("itch", 3, "keep", 2010, "g1"),
        release("steam", 4, "keep", 2010),
    ]
    assert parts(*chained) == [("gog:2", "itch:3"), ("steam:1",), ("steam:4",)]


def test_names_of_nothing_but_signs_are_no_names() -> None:
    assert len(parts(release("steam", 1, ""), release("gog", 2, ""))) == 2


releases = st.builds(
    Release,
    key=st.just(""),
    provider=st.sampled_from(STORES),
    name=st.sampled_from((*NAMES, "")),
    year=st.sampled_from((None, 2006, 2017)),
    group=st.sampled_from((None, None, "g1", "g2")),
    asked=st.booleans(),
)


def _numbered(drawn: list[Release]) -> list[Release]:
    return [Release(f"{each.provider}:{at}", each.provider, each.name, each.year, each.group, each.asked) for at, each in enumerate(drawn)]


@given(st.lists(releases, max_size=12), st.randoms())
def test_the_order_of_arrival_decides_nothing(drawn: list[Release], rng: random.Random) -> None:
    every = _numbered(drawn)
    shuffled = every[:]
    rng.shuffle(shuffled)
    assert join(every) == join(shuffled)


@given(st.lists(releases, max_size=12))
def test_every_release_is_in_one_title_and_groups_stay_whole(drawn: list[Release]) -> None:
    every = _numbered(drawn)
    found = join(every)
    assert sorted(key for part in found for key in part.keys) == sorted(each.key for each in every)
    of_key = {key: part for part in found for key in part.keys}
    for one in every:
        for other in every:
            together = of_key[one.key] is of_key[other.key]
            if one.group and one.group == other.group:
                assert together
            if one.group and other.group and one.group != other.group:
                assert not together


@given(st.lists(releases, max_size=12))
def test_a_guess_joins_asked_releases_of_different_stores_with_an_equal_name(drawn: list[Release]) -> None:
    every = {each.key: each for each in _numbered(drawn)}
    for part in join(every.values()):
        members = [every[key] for key in part.keys]
        if not part.guessed:
            assert len({each.group for each in members}) == 1
            continue
        ungrouped = [each for each in members if each.group is None]
        assert len({each.provider for each in ungrouped}) == len(ungrouped)
        assert all(each.asked and each.name for each in ungrouped)
        for each in ungrouped:
            assert any(other.name == each.name and other is not each for other in members)


@given(st.lists(releases, max_size=10))
def test_releases_that_share_no_name_and_no_group_are_joined_apart(drawn: list[Release]) -> None:
    """What `titles` relies upon when it looks only at what is tied to a change."""
    every = _numbered(drawn)
    far = [Release(f"far:{at}", "far", "elsewhere", 1999, "g9", asked=True) for at in range(2)]
    assert join([*every, *far]) == sorted([*join(every), *join(far)], key=lambda each: each.keys)

"""Reading a manifest that anybody may have written: the right entry is found, and nothing in it does harm."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from integ_runtime.saves.manifest import Constraint, Manifest, Rule, plain_title, read_yaml
from integ_server.contract.errors import IntegError, IntegrityError, NotFoundError, UsageError
from tests.runtime.saves.samples import SAMPLE


def manifest(text: str) -> Manifest:
    return Manifest(text.encode(), "m.yaml")


def test_the_sample_says_all_that_it_says() -> None:
    found = manifest(SAMPLE).find(steam=999910)
    assert found is not None and found.by == "steam"
    entry = found.entry
    assert entry.title == "Sample Quest"
    assert entry.files == (
        Rule("<winDocuments>/My Games/SampleQuest/*.sav", ("save",), (Constraint("windows"),)),
        Rule("<base>/config.ini", ("config",)),
        Rule("<xdgData>/SampleQuest", ("save",), (Constraint("linux", "steam"),)),
    )
    assert entry.registry == (Rule("HKEY_CURRENT_USER/Software/Sample/Quest", ("save", "config")),)
    assert (entry.install_dirs, entry.cloud) == (("SampleQuest",), ("gog", "steam"))
    assert (entry.steam_ids, entry.gog_ids) == ({999910, 999911}, {1234567890, 1234567891})


@pytest.mark.parametrize(
    ("asked", "by"),
    [
        ({"steam": 999911}, "steam"),
        ({"gog": 1234567890}, "gog"),
        ({"gog": 1234567891, "title": "Anything"}, "gog"),
        ({"gog": 7, "title": "sample  QUEST™"}, "title"),
        ({"title": "Sample Quest: Old Name"}, "title"),
    ],
)
def test_a_game_is_known_by_an_id_of_its_store_then_by_its_title_or_a_former_one(asked: dict[str, int | str], by: str) -> None:
    found = manifest(SAMPLE).find(**asked)  # type: ignore[arg-type]
    assert found is not None and (found.entry.title, found.by) == ("Sample Quest", by)


def test_an_id_counts_as_that_of_its_own_store_alone_and_only_as_an_id() -> None:
    text = "A:\n  files:\n    <base>/1234-5: {}\n  launch:\n    '<base>/x': [{arguments: -id 620}]\n  steam:\n    id: 5\n"
    text += "B:\n  steam:\n    id: 620\n"
    assert manifest(SAMPLE).find(steam=1234567890) is None
    found = manifest(text).find(steam=620)
    assert found is not None and found.entry.title == "B"
    assert manifest(text).find(steam=62) is None and manifest(text).find(gog=620) is None


def test_every_way_to_write_the_same_is_read() -> None:
    written = yaml.safe_load(SAMPLE)
    wanted = manifest(SAMPLE).find(steam=999911)
    for flow in (False, True, None):
        for text in (
            yaml.safe_dump(written, default_flow_style=flow, sort_keys=False),
            "\ufeff# from afar\n---\n" + yaml.safe_dump(written, sort_keys=False),
        ):
            assert manifest(text).find(steam=999911) == wanted
            assert manifest(text).find(title="Sample Quest Old Name") is not None


@pytest.mark.parametrize(
    "title", ["2048", "Yes", "1.5", "~", "2010-01-01", "Quest: Again", "It's", '"Quoted"', "日本", "Pokémon", "- dash"]
)
def test_a_title_is_text_whatever_it_looks_like(title: str) -> None:
    for escaped in (False, True):
        text = yaml.safe_dump({"Other": {"steam": {"id": 1}}, title: {"files": {"<base>/x": None}}}, allow_unicode=not escaped)
        found = manifest(text).find(title=title)
        if plain_title(title):
            assert found is not None and found.entry.title == title
            assert [rule.path for rule in found.entry.files] == ["<base>/x"]


def test_aliases_lead_on_and_a_circle_ends() -> None:
    text = "A: {alias: B}\nB: {alias: C, files: {<base>/no: {}}, steam: {id: 3}}\nC: {files: {<base>/yes: {}}}\n"
    text += "X: {alias: Y}\nY: {alias: X}\nZ: {alias: gone}\n"
    found = manifest(text).find(title="a")
    assert found is not None and [rule.path for rule in found.entry.files] == ["<base>/yes"]
    assert manifest(text).find(title="X") is None and manifest(text).find(title="Z") is None
    assert manifest(text).find(steam=3) is None, "of an entry that is an alias nothing else counts"


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ((), True),
        ((Constraint(),), True),
        ((Constraint("windows"),), True),
        ((Constraint("linux"), Constraint("windows", "gog")), True),
        ((Constraint("windows", "steam"),), False),
        ((Constraint("linux"),), False),
        ((Constraint("", "gog"),), True),
        ((Constraint("mac"), Constraint("dos")), False),
    ],
)
def test_conditions_are_alternatives_each_of_which_has_to_hold_whole(when: tuple[Constraint, ...], holds: bool) -> None:
    assert Rule("<base>/x", when=when).holds(os="windows", store="gog") is holds


@pytest.mark.parametrize(
    "text",
    [
        "Sample: &a {files: *a}\n",
        "Sample: {files: " + "[" * 200_000 + "\n",
        "Sample:\n  files: {[a]: b}\n",
        "Sample: {files: {unfinished\n",
        "Sample: [\n",
        "Sample:\n  x: " + "y" * (3 << 20) + "\n",
    ],
    ids=["refers to itself", "deep", "odd key", "cut", "no end", "endless"],
)
def test_what_no_manifest_holds_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(IntegrityError, match=r"m\.yaml is no ludusavi manifest") as caught:
        manifest(text).find(title="Sample")
    assert "\n" not in caught.value.message and caught.value.hint == "--manifest FILE"


def test_a_tag_makes_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "made"
    found = manifest(f"Sample: !!python/object/apply:os.mkdir\n  files: {{<base>/x: !!python/object/apply:os.mkdir ['{mark}']}}\n").find(
        title="Sample"
    )
    assert found is not None and not mark.exists()


def test_shapes_that_are_not_the_formats_are_left_out() -> None:
    text = "S: {files: {a: 7, b: [x], c: {tags: save, when: {os: linux}}, d: {when: [{os: [linux]}, 5]}}, "
    text += "steam: 7, id: [1], installDir: no, cloud: {gog: yes}}\n"
    found = manifest(text).find(title="S")
    assert found is not None
    assert [(rule.path, rule.tags) for rule in found.entry.files] == [("a", ()), ("b", ()), ("c", ()), ("d", ())]
    assert not found.entry.files[3].holds(os="linux", store="gog"), "a condition that nobody understands does not hold"
    assert (found.entry.steam_ids, found.entry.install_dirs, found.entry.cloud) == (frozenset(), (), ())


def test_a_file_that_is_none_or_too_large_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Manifest.open(tmp_path / "gone.yaml")
    with pytest.raises(NotFoundError):
        Manifest.open(tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"#" * 2000)
    with pytest.raises(UsageError, match="too large"):
        Manifest.open(tmp_path / "large.yaml", limit_bytes=1999)
    assert Manifest.open(tmp_path / "large.yaml", limit_bytes=2000).find(title="x") is None


def test_one_of_fifty_thousand_is_found_without_reading_the_others() -> None:
    entry = "Game {0}:\n  files:\n    <base>/saves: {{tags: [save]}}\n  installDir: {{Game{0}: {{}}}}\n  steam:\n    id: {1}\n"
    whole = manifest("".join(entry.format(number, 100_000 + number) for number in range(50_000)))
    began = time.process_time()
    by_id, by_title = whole.find(steam=149_999), whole.find(title="game 49998")
    assert by_id is not None and by_id.entry.title == "Game 49999"
    assert by_title is not None and by_title.entry.title == "Game 49998"
    assert time.process_time() - began < 10, "seconds; YAML alone would take minutes"


@pytest.mark.parametrize("end", ["", "B:\n  steam: {id: 5}\n"], ids=["alone", "before the right one"])
def test_a_number_that_stands_in_an_entry_a_hundred_thousand_times_costs_one_look(end: str) -> None:
    text = "A:\n  notes:\n" + "    - 5\n" * 100_000 + end
    began = time.process_time()
    found = manifest(text).find(steam=5)
    assert (found is not None) is bool(end)
    assert time.process_time() - began < 10, "seconds; a look at each would take hours"


@given(st.one_of(st.text(), st.from_regex(r"([A-Za-z0-9:'\"{}\[\]&*!|>%@`,?# -]{0,12}\n ?){0,8}")), st.integers(0, 30))
def test_whatever_the_text_is_there_is_an_answer_or_one_of_our_errors(text: str, number: int) -> None:
    read = manifest(text.encode("utf-8", "replace").decode())
    for ask in ({"steam": number, "gog": number}, {"title": text[:8]}, {"title": "a"}):
        try:
            read.find(**ask)  # type: ignore[arg-type]
        except IntegError as error:
            assert error.message.startswith("m.yaml is no ludusavi manifest")


@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12))
def test_plain_yaml_is_read_as_it_was_written(tree: object) -> None:
    assert read_yaml(yaml.safe_dump(tree)) == tree


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.integers(1, 2**40), min_size=1, max_size=6))
def test_every_entry_that_is_written_is_found_by_its_id(ids: dict[str, int]) -> None:
    whole = manifest(yaml.safe_dump({title: {"gog": {"id": number}} for title, number in ids.items()}, default_flow_style=False))
    for number in ids.values():
        found = whole.find(gog=number)
        assert found is not None and ids[found.entry.title] == number

"""A manifest as ludusavi's is written, and a home with a game of each kind in it."""

from __future__ import annotations

from pathlib import Path

SAMPLE = """\
Sample Quest:
  files:
    "<winDocuments>/My Games/SampleQuest/*.sav":
      tags: [save]
      when: [{os: windows}]
    "<base>/config.ini": {tags: [config]}
    "<xdgData>/SampleQuest": {tags: [save], when: [{os: linux, store: steam}]}
  installDir: {SampleQuest: {}}
  launch:
    "<base>/quest.exe": [{arguments: -dx11, workingDir: <base>, when: [{bit: 64, os: windows, store: steam}]}]
  registry: {"HKEY_CURRENT_USER/Software/Sample/Quest": {tags: [save, config]}}
  steam: {id: 999910}
  gog: {id: 1234567890}
  id: {flatpak: org.sample.Quest, gogExtra: [1234567891], lutris: sample-quest, steamExtra: [999911]}
  cloud: {steam: true, gog: true}
  notes: [{message: saves are per profile}]
Sample Quest Old Name: {alias: Sample Quest}
"""


def write(file: Path, text: str = "x") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file

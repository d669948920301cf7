"""Run the unit tests on every other Python from 3.12 up that this machine has, each in a virtual environment of its own."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
VERSIONS = ("3.12", "3.13", "3.14")


def interpreter(version: str) -> str | None:
    """A working interpreter of *version*: from PATH, or from where version managers keep them."""
    found = [shutil.which(f"python{version}")]
    found += sorted(glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python{version}")))
    found += sorted(glob.glob(os.path.expanduser(f"~/.local/share/uv/python/cpython-{version}.*/bin/python{version}")))
    for candidate in found:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def environment(version: str, python: str) -> Path:
    """A virtual environment with what the lock file names; made anew when that changed."""
    folder = HERE / f".venv-{version}"
    stamp = folder / f".integ-{hashlib.sha256((HERE / 'requirements.lock').read_bytes()).hexdigest()[:16]}"
    if not stamp.exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", HERE / "requirements.lock"], check=True)
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", HERE], check=True)
        stamp.touch()
    return folder


def main() -> int:
    failed, ran = [], []
    for version in VERSIONS:
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: not on this machine", flush=True)
            continue
        print(f"Python {version}:", flush=True)
        pytest = environment(version, python) / "bin/pytest"
        done = subprocess.run([pytest, "-q", "-n", "auto", "-m", "not integration and not torture", *sys.argv[1:]], cwd=HERE, check=False)
        ran.append(version)
        if done.returncode:
            failed.append(version)
    print(f"other Pythons: {', '.join(ran) or 'none'} ran; {', '.join(failed) or 'none'} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

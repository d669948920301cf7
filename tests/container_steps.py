"""
Run the Containerfile's own steps on a machine without containers, and start what they made. For CI: pip fetches what the lock names.

The first stage's COPY and RUN lines are done as they stand, in a mount name space whose /opt/integ and /src are new, with this machine's
Python in the place of the image's. Then the last stage's ENTRYPOINT and CMD serve a database that its `migrate` made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

FOLDERS = ("/opt/integ", "/src")
ROOT = Path(__file__).resolve().parent.parent


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest of its line), in their order."""
    text = (ROOT / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]  # type: ignore[misc]


def build() -> None:
    """Inside the name space: do what the first stage says."""
    work = Path("/src")
    for name, rest in instructions():
        if name == "WORKDIR":
            work = Path(rest)
            work.mkdir(parents=True, exist_ok=True)
        elif name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                there = work / target / source if target.endswith("/") else work / target
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, there)
        elif name == "RUN":
            print(f"RUN {rest}", flush=True)
            subprocess.run(["/bin/sh", "-c", rest], cwd=work, check=True)
    for left in Path("/src").iterdir():  # the last stage takes /opt/integ alone
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def start() -> None:
    """Inside the name space: migrate and serve as the last stage says, and ask whether it is ready."""
    found = dict(instructions())
    entry, command = json.loads(found["ENTRYPOINT"]), json.loads(found["CMD"])
    env = dict(word.split("=", 1) for word in found["ENV"].split())
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "secret_key")
        key.write_text("k1:5f0c9a7be2d14836af907c1d3e8b6452")
        env |= {"INTEG_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/integ.db", "INTEG_SECRET_KEY_FILE": str(key), "HOME": folder}
        subprocess.run([*entry, "migrate"], env=env, cwd=folder, check=True)
        command[command.index("--port") + 1] = "0"
        serving = subprocess.Popen([*entry, *command, "--json"], env=env, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert serving.stdout is not None
            address = json.loads(serving.stdout.readline())["data"]["address"].replace("0.0.0.0", "127.0.0.1")
            until = time.monotonic() + 60
            while True:
                try:
                    with urllib.request.urlopen(f"{address}/readyz", timeout=10) as answer:
                        assert json.load(answer)["status"] == "ok"
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.2)
        finally:
            serving.terminate()
            code = serving.wait(60)
    assert code == 0, f"it ended with {code}"
    listed = subprocess.check_output(["/bin/sh", "-c", "ls -d /opt/integ/lib/python3*/site-packages/*"], text=True)
    for unwanted in ("pytest", "mypy", "playwright", "hatchling", "/pip"):
        assert unwanted not in listed, f"{unwanted} is in the image"


def main() -> None:
    if "--inside" in sys.argv:
        for folder in FOLDERS:
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        build()
        start()
        print("the Containerfile's steps work, and what they made serves")
        return
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    made = [folder for folder in FOLDERS if not Path(folder).exists()]
    for folder in made:
        Path(folder).mkdir(parents=True)
    try:
        subprocess.run(["unshare", "--mount", *as_root, sys.executable, __file__, "--inside"], check=True)
    finally:
        for folder in made:
            Path(folder).rmdir()


if __name__ == "__main__":
    main()

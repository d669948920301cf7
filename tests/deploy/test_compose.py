"""`compose.yaml` as Compose reads it, and what must hold of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from integ_server.settings import ServerSettings
from tests.deploy.page import ROOT

OURS = ("migrate", "api", "worker")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    found: dict[str, Any] = content["services"]
    return found


@pytest.mark.integration
def test_compose_takes_it(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    docker = shutil.which("docker")
    has_plugin = docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    words = ["docker", "compose"] if has_plugin else [request.getfixturevalue("need")("docker-compose")]
    for name in ("compose.yaml", "Containerfile"):
        shutil.copy(ROOT / name, tmp_path / name)
    done = subprocess.run([*words, "-f", "compose.yaml", "config"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(yaml.safe_load(done.stdout)["services"]) == {"database", "redis", "mirror", "migrate", "api", "worker"}


def test_nothing_but_the_api_is_published_and_that_at_loopback(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"api"} and all(port.startswith("127.0.0.1:") for port in published["api"])
    assert all("network_mode" not in service and "privileged" not in service for service in services.values())


def test_every_container_is_read_only_without_privileges_and_without_the_hosts_folders(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(re.match(r"[a-z]+:/", volume) for volume in service.get("volumes", [])), f"{name}: named volumes only"
        if name != "mirror":  # gives the volume away, and ends
            assert int(service["user"].partition(":")[0]) > 0, name
            assert "cap_add" not in service, name


def test_secrets_are_files_and_every_setting_is_one_of_ours(services: dict[str, Any]) -> None:
    known = {alias for field in ServerSettings.model_fields.values() for alias in getattr(field.validation_alias, "choices", [])}
    known |= {f"{each}_file" for each in known} | {"integ_database_password_file"}
    for name in OURS:
        environment = services[name]["environment"]
        assert {each.lower() for each in environment} <= known
        assert not [each for each in environment if each.endswith(("_KEY", "_SECRET", "_PASSWORD", "_TOKEN"))]
        assert set(services[name]["secrets"]) == {"secret_key", "database_password"}


def test_what_serves_waits_for_the_migration_and_tells_how_it_is(services: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert "healthcheck" in services[name]
    assert services["migrate"]["restart"] == "no"

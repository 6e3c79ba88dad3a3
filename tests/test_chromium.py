"""The browser of the tests is one that is there; only where none is, one is installed, by the system's own way."""

import subprocess

import pytest

from book import chromium


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without any browser; the function puts a program on its path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROME", raising=False)
    monkeypatch.setattr(chromium, "MACOS", (tmp_path / "Google Chrome.app" / "Google Chrome",))

    def put(name):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return str(path)

    return put


def test_the_first_browser_there_is_is_taken(machine, monkeypatch):
    assert chromium.find() is None
    mac = machine("Google Chrome.app/Google Chrome")
    assert chromium.find() == mac
    chrome = machine("google-chrome")
    assert chromium.find() == chrome
    debian = machine("chromium")
    assert chromium.find() == debian
    mine = machine("mine")
    monkeypatch.setenv("CHROME", mine)
    assert chromium.find() == mine


def test_a_named_browser_that_is_not_there_is_refused(machine, monkeypatch):
    machine("chromium")
    monkeypatch.setenv("CHROME", "/no/such/chrome")
    with pytest.raises(ValueError, match=r"CHROME must name .*, got '/no/such/chrome'"):
        chromium.find()


@pytest.mark.parametrize(
    ("programs", "user", "runs"),
    [
        (("apt-get",), 0, "env DEBIAN_FRONTEND=noninteractive apt-get"),
        (("apt-get", "sudo"), 1000, "sudo env DEBIAN_FRONTEND=noninteractive apt-get"),
        (("apt-get",), 1000, "-m playwright install chromium"),
        ((), 1000, "-m playwright install chromium"),
    ],
    ids=["Debian", "Debian, a user", "no right to apt", "no apt"],
)
def test_each_system_gets_its_own_browser(machine, monkeypatch, programs, user, runs):
    for program in programs:
        machine(program)
    commands = []
    monkeypatch.setattr(chromium.os, "geteuid", lambda: user)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(" ".join(command)))
    chromium.install()
    assert all(runs in command for command in commands)
    assert commands[-1].endswith("chromium")

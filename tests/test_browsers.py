"""The browsers of the tests are those that are there; one that is missing is installed, by the system's own way."""

import subprocess
import sys

import pytest

from book import browsers


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without any browser; the function puts a program on its path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROME", raising=False)
    monkeypatch.setattr(browsers, "MACOS", tmp_path)
    browsers._apt.cache_clear()

    def put(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return str(path)

    yield put
    browsers._apt.cache_clear()


@pytest.fixture
def commands(monkeypatch):
    """The commands that would be run, and which of them fail."""
    run, failing = [], set()

    def record(command, **_):
        run.append(" ".join(command))
        return subprocess.CompletedProcess(command, int(any(word in failing for word in command)))

    monkeypatch.setattr(subprocess, "run", record)
    return run, failing


def test_the_first_browser_there_is_is_taken(machine, monkeypatch):
    assert browsers.chromium() is None
    mac = machine("Google Chrome.app/Contents/MacOS/Google Chrome")
    assert browsers.chromium() == mac
    chrome = machine("google-chrome")
    assert browsers.chromium() == chrome
    debian = machine("chromium")
    assert browsers.chromium() == debian
    mine = machine("mine")
    monkeypatch.setenv("CHROME", mine)
    assert browsers.chromium() == mine


def test_a_named_browser_that_is_not_there_is_refused(machine, monkeypatch):
    machine("chromium")
    monkeypatch.setenv("CHROME", "/no/such/chrome")
    with pytest.raises(ValueError, match=r"CHROME must name .*, got '/no/such/chrome'"):
        browsers.chromium()


def test_the_other_browsers_are_found(machine):
    assert browsers.firefox() is None and browsers.webkit() is None
    mac = machine("Firefox.app/Contents/MacOS/firefox")
    assert browsers.firefox() == mac
    debian = machine("firefox-esr")
    assert browsers.firefox() == debian
    driver = machine("WebKitWebDriver")
    assert not browsers.is_there("WebKit")
    machine("Xvfb")
    assert browsers.webkit() == driver


APT = "env DEBIAN_FRONTEND=noninteractive apt-get --quiet=2"
OWN = f"{sys.executable} -m playwright install chromium"


@pytest.mark.parametrize(
    ("programs", "user", "fails", "rights"),
    [
        (("apt-get",), 0, None, ""),
        (("apt-get", "sudo"), 1000, None, "sudo --non-interactive "),
        (("apt-get", "sudo"), 1000, "true", None),
        (("apt-get",), 1000, None, None),
        ((), 0, None, None),
        (("apt-get",), 0, "--simulate", None),
    ],
    ids=["Debian", "Debian, a user", "a password", "no right to apt", "no apt", "no such package"],
)
def test_each_system_gets_its_own_browsers(
    machine, commands, monkeypatch, capsys, programs, user, fails, rights
):
    for program in programs:
        machine(program)
    run, failing = commands
    failing.add(fails)
    monkeypatch.setattr(browsers.os, "geteuid", lambda: user)
    for name, packages in browsers.PACKAGES.items():
        run.clear()
        browsers.install(name)
        said = capsys.readouterr().out
        if rights is not None:
            what = " ".join(packages)
            assert run[-1] == f"{rights}{APT} install --yes --no-install-recommends {what}"
            assert said == f"No {name} here: installing Debian's.\n"
        elif name == "Chromium":
            assert run[-1] == OWN
        else:
            assert not any("install" in c and "--simulate" not in c for c in run)
            assert said == f"No {name} here: its tests will be left out.\n"


def test_the_lists_of_apt_are_renewed_once(machine, commands, monkeypatch):
    machine("apt-get")
    monkeypatch.setattr(browsers.os, "geteuid", lambda: 0)
    for name in browsers.PACKAGES:
        browsers.install(name)
    assert commands[0].count(f"{APT} update") == 1

"""The environment: typed, and refused with words."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from lumos.settings import env


def test_value_file_and_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "secret"))
    assert env.text("X") == "from-file"
    monkeypatch.setenv("X", "direct")
    assert env.text("X") == "direct"
    assert env.text("Y", "default") == "default"


def test_malformed_values_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "perhaps")
    with pytest.raises(ImproperlyConfigured, match="X='perhaps'"):
        env.flag("X", default=True)
    with pytest.raises(ImproperlyConfigured, match="one of a, b"):
        env.choice("X", "a", ("a", "b"))
    with pytest.raises(ImproperlyConfigured, match="'perhaps' is no IP address"):
        env.addresses("X")
    with pytest.raises(ImproperlyConfigured, match="MISSING"):
        env.text("MISSING")
    monkeypatch.setenv("Z_FILE", "/no/such/file")
    with pytest.raises(ImproperlyConfigured, match="/no/such/file"):
        env.text("Z")

from pathlib import Path

import pytest

from app.settings import SettingsError, load_settings


def test_arguments_override_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHROMAROUTE_MAX_PIXELS", "1000")
    monkeypatch.setenv("CHROMAROUTE_BUNDLE", "/somewhere")
    settings = load_settings(bundle=tmp_path)
    assert settings.max_pixels == 1000
    assert settings.bundle == tmp_path
    assert load_settings(bundle=None).bundle == Path("/somewhere")


def test_invalid_value_is_reported_with_setting_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMAROUTE_MAX_BYTES", "-1")
    with pytest.raises(SettingsError, match="CHROMAROUTE_MAX_BYTES is '-1'"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CORS_ORIGINS", "album.example"),
        ("DATABASE", "mysql://x"),
        ("REPLICA", "a/b"),
        ("LOG_FORMAT", "xml"),
        ("MAX_PIXELS", "1e12"),
    ],
)
def test_invalid_values_are_rejected(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"CHROMAROUTE_{name}", value)
    with pytest.raises(SettingsError, match=f"CHROMAROUTE_{name}"):
        load_settings()


def test_unknown_setting_is_rejected_with_known_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMAROUTE_MAX_PIXEL", "1000")
    with pytest.raises(SettingsError, match=r"CHROMAROUTE_MAX_PIXEL: .*CHROMAROUTE_MAX_PIXELS"):
        load_settings()

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
        ("WEBHOOK_ORIGINS", "https://album.example/path"),
        ("WEBHOOK_ORIGINS", "ftp://album.example"),
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


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_!" + "A" * 43, "A" * 44, f"whsec_{'A' * 92}"])
def test_webhooks_need_a_secret_of_the_specification(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMAROUTE_WEBHOOK_ORIGINS", "https://album.example")
    monkeypatch.setenv("CHROMAROUTE_WEBHOOK_SECRET", secret)
    with pytest.raises(SettingsError, match=r"CHROMAROUTE_WEBHOOK_SECRET must be whsec_.*openssl rand -base64 32"):
        load_settings()


def test_origins_are_split_at_commas_and_the_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMAROUTE_WEBHOOK_ORIGINS", "https://Album.example, http://10.0.0.5:8080,")
    monkeypatch.setenv("CHROMAROUTE_WEBHOOK_SECRET", f"whsec_{'A' * 44}")
    settings = load_settings()
    assert settings.webhook_origins == ("https://album.example", "http://10.0.0.5:8080")
    assert "AAAA" not in repr(settings)
    assert load_settings(webhook_private=True).webhook_private

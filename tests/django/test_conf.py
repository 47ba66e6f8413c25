"""The setting MULTIWORKER: what it means, and what is said when it is wrong."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from multiworker.django import conf
from multiworker.django.caches import DJANGO
from multiworker.worker.errors import SettingsError
from multiworker.worker.settings import OPTION_NAMES, REDIS_VARIABLES, Settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MULTIWORKER_", *REDIS_VARIABLES))]:
        monkeypatch.delenv(name)


def messages(*, deploy: bool = False, **settings: Any) -> list[tuple[str, str, str]]:
    """What `manage.py check` says: id, text, hint."""
    with override_settings(**settings):
        found = run_checks(tags=["multiworker"], include_deployment_checks=deploy)
    return [(str(one.id).removeprefix("multiworker."), one.msg, one.hint or "") for one in found]


def redis_cache(location: str = "redis://cache:1/2") -> dict[str, Any]:
    return {"BACKEND": DJANGO, "LOCATION": location}


LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


def test_every_option_of_start_is_a_key_but_the_settings_module() -> None:
    assert set(conf.ENGINE.values()) == set(OPTION_NAMES) - {"settings"}
    with override_settings(
        MULTIWORKER={
            "PROCS": "auto",
            "CONCURRENCY": 7,
            "QUEUE": ["a", "b"],
            "HANDLER": "app.tasks:run",
            "TIMEOUT": 2.5,
            "MAX_PAYLOAD": "1MiB",
            "PRELOAD": True,
            "REDIS": "redis://host/1",
            "NAME": None,
            "EAGER": False,
        }
    ):
        options = conf.engine_options()
    assert options == {
        "procs": 0,
        "concurrency": 7,
        "queue": ("a", "b"),
        "handler": ("app.tasks:run",),
        "timeout": 2.5,
        "max_payload": 1024 * 1024,
        "preload": True,
        "redis": "redis://host/1",
    }
    assert Settings(**options).claim == 7


@pytest.mark.parametrize(
    ("setting", "id", "text", "hint"),
    [
        ([], "E001", "MULTIWORKER is a dict, not list", ""),
        ({"CONCURENCY": 1}, "E002", "MULTIWORKER has no key 'CONCURENCY'", 'did you mean "CONCURRENCY"?'),
        ({"max-attempts": 1}, "E002", "MULTIWORKER has no key 'max-attempts'", 'did you mean "MAX_ATTEMPTS"?'),
        ({"MULTIWORKER_REDIS": "x"}, "E002", "MULTIWORKER has no key 'MULTIWORKER_REDIS'", 'did you mean "REDIS"?'),
        ({"SETTINGS": "x"}, "E002", "MULTIWORKER has no key 'SETTINGS'", "the settings module is the one it stands in"),
        ({7: "x"}, "E002", "MULTIWORKER has no key 7", "there are PROCS"),
        ({"CONCURRENCY": 0}, "E003", 'MULTIWORKER["CONCURRENCY"] is 1 to 1000, not 0', ""),
        ({"CONCURRENCY": "many"}, "E003", "MULTIWORKER[\"CONCURRENCY\"] is a whole number, not 'many'", ""),
        ({"CONCURRENCY": True}, "E003", 'MULTIWORKER["CONCURRENCY"] is text or a number', ""),
        ({"CONCURRENCY": []}, "E003", 'MULTIWORKER["CONCURRENCY"] is text or a number', ""),
        ({"PRELOAD": "yes"}, "E003", 'MULTIWORKER["PRELOAD"] is true or false', ""),
        ({"QUEUE": [True]}, "E003", 'MULTIWORKER["QUEUE"] is text or a number, or a list of them', ""),
        ({"QUEUE": []}, "E003", 'MULTIWORKER["QUEUE"] needs at least one name', ""),
        ({"MAX_PAYLOAD": "big"}, "E003", 'MULTIWORKER["MAX_PAYLOAD"]: a size is', ""),
        ({"EAGER": "yes"}, "E003", "MULTIWORKER[\"EAGER\"] is True or False, not 'yes'", ""),
        ({"HANDLER": "no way"}, "E003", 'MULTIWORKER["HANDLER"] is MODULE or MODULE:FUNC', ""),
        ({"REDIS": "http://:secret@host"}, "E004", 'MULTIWORKER["REDIS"] is a URL that begins with redis:', ""),
        ({"REDIS": "redis://:12/cret@host"}, "E004", 'MULTIWORKER["REDIS"] has a password with / ? # or @', ""),
        ({"REDIS": 7}, "E003", 'MULTIWORKER["REDIS"] is text', ""),
        ({"CACHE": "other"}, "E005", "MULTIWORKER[\"CACHE\"]: CACHES has no 'other'", "there is none"),
        ({"CACHE": "default"}, "E005", 'MULTIWORKER["CACHE"]: CACHES["default"] is not in Redis', "there is none"),
        ({"DATABASE": "other"}, "E007", "MULTIWORKER[\"DATABASE\"]: DATABASES has no 'other'", "there is default"),
        ({"HANDLER": "no.such"}, "E008", 'MULTIWORKER["HANDLER"] no.such: ModuleNotFoundError', "module:function"),
        ({"HANDLER": "os:nothing"}, "E008", 'MULTIWORKER["HANDLER"] os:nothing: the module has no function', ""),
    ],
)
def test_what_is_wrong_is_said_once_with_its_place(setting: Any, id: str, text: str, hint: str) -> None:  # noqa: A002
    ((found, message, advice),) = messages(MULTIWORKER=setting)
    assert (found, message[: len(text)]) == (id, text)
    assert hint in advice
    assert "secret" not in message + advice
    assert "cret@" not in message
    if id == "E008":
        return  # only where code is imported anyway
    with override_settings(MULTIWORKER=setting), pytest.raises(SettingsError) as caught:
        conf.engine_options()
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_nothing_is_wrong_with_an_empty_setting_or_none() -> None:
    assert messages(MULTIWORKER={}) == []
    with override_settings():
        from django.conf import settings

        del settings.MULTIWORKER
        assert messages() == []
        assert conf.engine_options() == {}


def test_redis_comes_from_the_first_place_that_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("redis://secret:1/1\n")
    with override_settings(MULTIWORKER={}, CACHES={"default": LOCAL}):
        assert conf.redis_url() == "redis://localhost:6379/0"
        monkeypatch.setenv("REDIS_URL", "redis://shared:1/0")
        assert conf.redis_url() == "redis://shared:1/0"
        with override_settings(CACHES={"default": redis_cache()}):
            assert conf.redis_url() == "redis://cache:1/2"
            assert conf.engine_options() == {"redis": "redis://cache:1/2"}
            with override_settings(MULTIWORKER={"REDIS": "redis://own:1/0"}):
                assert conf.redis_url() == "redis://own:1/0"
                assert conf.engine_options() == {"redis": "redis://own:1/0"}
                monkeypatch.setenv("MULTIWORKER_REDIS_FILE", str(secret))
                assert conf.redis_url() == "redis://secret:1/1"


def test_of_several_caches_the_named_one_counts_else_default_else_the_only_one() -> None:
    caches = {"a": LOCAL, "b": redis_cache("redis://b"), "default": redis_cache("redis://d")}
    with override_settings(MULTIWORKER={}, CACHES=caches):
        assert conf.redis_url() == "redis://d:6379/0"
        with override_settings(MULTIWORKER={"CACHE": "b"}):
            assert conf.redis_url() == "redis://b:6379/0"
    with override_settings(MULTIWORKER={}, CACHES=caches | {"default": LOCAL}):
        assert conf.redis_url() == "redis://b:6379/0"
        with override_settings(CACHES=caches | {"default": LOCAL, "c": redis_cache("redis://c")}):
            assert conf.redis_url() == "redis://localhost:6379/0"


def test_a_cache_that_cannot_be_taken_is_named_and_its_password_is_not() -> None:
    caches = {"default": redis_cache("redis://:secret@host:99999/0")}
    ((id_, text, _),) = messages(MULTIWORKER={}, CACHES=caches)
    assert (id_, text) == ("E006", 'CACHES["default"] has a LOCATION with a host or port that cannot be')
    caches = {"default": redis_cache("redis://:sec?ret@host/0")}
    ((id_, text, _),) = messages(MULTIWORKER={}, CACHES=caches)
    assert id_ == "E006"
    assert "sec" not in text.replace("second", "")
    assert messages(MULTIWORKER={"REDIS": "redis://own"}, CACHES=caches) == []


def test_a_cache_that_shares_the_database_of_the_tasks_is_warned_of_before_a_deployment() -> None:
    caches = {"default": redis_cache("redis://host/1"), "other": redis_cache("redis://host/2")}
    assert messages(MULTIWORKER={}, CACHES=caches) == []
    ((id_, text, hint),) = messages(deploy=True, MULTIWORKER={}, CACHES=caches)
    assert (id_, text.endswith("CACHES['default']"), 'MULTIWORKER["REDIS"]' in hint) == ("W001", True, True)
    assert messages(deploy=True, MULTIWORKER={"REDIS": "redis://host/3"}, CACHES=caches) == []


def test_the_client_follows_the_setting() -> None:
    with override_settings(MULTIWORKER={"REDIS": "redis://one"}):
        one = conf.client()
        assert conf.client() is one
        with override_settings(MULTIWORKER={"REDIS": "redis://two", "MAX_PAYLOAD": 100}):
            assert conf.client() is not one
            with pytest.raises(ValueError, match="100 are allowed"):
                raise ValueError(str(_too_large()))


def _too_large() -> Exception:
    from multiworker.worker.errors import EncodeError

    with pytest.raises(EncodeError) as caught:
        conf.client().encode("x", "y" * 100, None)
    return caught.value


def test_tasks_go_to_a_queue_that_is_served() -> None:
    for queue, expected in (
        (None, "async_tasks"),
        ("mine", "mine"),
        (["a", "async_tasks"], "async_tasks"),
        (["a", "b"], "a"),
    ):
        with override_settings(MULTIWORKER={"QUEUE": queue}):
            assert conf.default_queue() == expected

"""From an entry of CACHES to the URL that workers and clients use; redis-py is asked what the entry means."""

from typing import Any

import pytest

from multiworker.django.caches import DJANGO, DJANGO_REDIS, place_of, url_of
from multiworker.worker.addresses import check_redis_url
from multiworker.worker.errors import SettingsError


def django(location: Any, **options: Any) -> dict[str, Any]:
    return {"BACKEND": DJANGO, "LOCATION": location, "OPTIONS": options}


def django_redis(location: Any, **options: Any) -> dict[str, Any]:
    return {"BACKEND": DJANGO_REDIS, "LOCATION": location, "OPTIONS": options}


SENTINELS = [("10.0.0.1", 26379), ("10.0.0.2", 26380)]
BY_SENTINEL = {"CLIENT_CLASS": "django_redis.client.SentinelClient", "SENTINELS": SENTINELS}


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        (django("redis://host"), "redis://host:6379/0"),
        (django("redis://host:6380/2"), "redis://host:6380/2"),
        (django("redis://host/2?db=3"), "redis://host:6379/3"),
        (django("redis://host", db="4"), "redis://host:6379/4"),
        (django("redis://host/2", db=4), "redis://host:6379/2"),
        (django("redis://u:p%40ss@host/1"), "redis://u:p%40ss@host:6379/1"),
        (django("redis://:p@host"), "redis://:p@host:6379/0"),
        (django("redis://host", username="u", password="p@/ss"), "redis://u:p%40%2Fss@host:6379/0"),
        (django("redis://:url@host", password="options"), "redis://:url@host:6379/0"),
        (django("redis://[::1]:7"), "redis://[::1]:7/0"),
        (django("redis://host?socket_timeout=3&max_connections=9"), "redis://host:6379/0"),
        (django("redis://first,redis://second"), "redis://first:6379/0"),
        (django("redis://first;redis://second"), "redis://first:6379/0"),
        (django(["redis://first/1", "redis://second/1"]), "redis://first:6379/1"),
        (django("unix:///run/redis.sock?db=5"), "unix:///run/redis.sock?db=5"),
        (django("unix://u:p@/run/redis.sock"), "unix://u:p@/run/redis.sock?db=0"),
        (django("rediss://host", ssl_cert_reqs=None), "rediss://host:6379/0?ssl_cert_reqs=none"),
        (django("rediss://host?ssl_cert_reqs=optional"), "rediss://host:6379/0?ssl_cert_reqs=optional"),
        (
            django("rediss://host", ssl_ca_certs="/etc/hosts", ssl_check_hostname=False),
            "rediss://host:6379/0?ssl_ca_certs=%2Fetc%2Fhosts&ssl_check_hostname=false",
        ),
        (django_redis("redis://host/1", PASSWORD="s e"), "redis://:s%20e@host:6379/1"),
        (django_redis("redis://host", DB=2, USERNAME="u", PASSWORD="p"), "redis://u:p@host:6379/2"),
        (
            django_redis("redis://host", CONNECTION_POOL_KWARGS={"username": "u", "password": "p"}),
            "redis://u:p@host:6379/0",
        ),
        (
            django_redis("redis://host", REDIS_CLIENT_KWARGS={"ssl": True, "ssl_cert_reqs": None}),
            "rediss://host:6379/0?ssl_cert_reqs=none",
        ),
        (
            django_redis("redis://main/1", **BY_SENTINEL, PASSWORD="p"),
            "redis+sentinel://:p@10.0.0.1:26379,10.0.0.2:26380/main/1",
        ),
        (
            django_redis("rediss://main/0?is_master=1", **BY_SENTINEL, SENTINEL_KWARGS={"password": "s"}),
            "rediss+sentinel://10.0.0.1:26379,10.0.0.2:26380/main/0?sentinel_password=s",
        ),
    ],
)
def test_a_cache_is_taken_for_what_it_is(entry: dict[str, Any], url: str) -> None:
    assert url_of(entry) == url
    check_redis_url(url)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (django(""), "no URL"),
        (django("host:6379"), "no URL"),
        (django("redis://host:99999"), "cannot be"),
        (django("redis://host/x"), "number is none"),
        (django(7), "neither text nor a list"),
        (django("rediss://host", ssl_ca_path="/secret"), "ssl_ca_path"),
        (django("redis://host", credential_provider=object()), "credential_provider"),
        (django_redis("redis://a,redis://b", CLIENT_CLASS="django_redis.client.ShardClient"), "ShardClient"),
        (django_redis("redis://main", CLIENT_CLASS="django_redis.client.SentinelClient"), "no SENTINELS"),
        (django_redis("redis://main", **BY_SENTINEL | {"SENTINELS": ["a:1"]}), "no list of pairs"),
        ({"BACKEND": DJANGO, "LOCATION": "redis://host", "OPTIONS": []}, "no dict"),
    ],
)
def test_what_a_url_cannot_say_is_refused(entry: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        url_of(entry)
    assert str(caught.value).startswith(("has ", "is "))


def test_two_databases_are_told_apart_whatever_the_login() -> None:
    assert place_of("redis://:p@host:6379/1") == place_of("rediss://u:q@host:6379/1?ssl_cert_reqs=none")
    assert place_of("redis://host:6379/1") != place_of("redis://host:6379/2")
    assert place_of("unix:///s?db=1") != place_of("unix:///s?db=2")

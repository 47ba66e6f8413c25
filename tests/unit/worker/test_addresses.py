"""Redis URLs: what they may say, how they are shown, and whom they name."""

import re
from typing import Any

import pytest
import redis.connection
from hypothesis import example, given
from hypothesis import strategies as st

from multiworker.worker.addresses import Place, check_redis_url, is_embedded, redacted, route_of
from multiworker.worker.errors import SettingsError


def parse_url(url: str) -> dict[str, Any]:
    """What redis-py reads in a URL."""
    return dict(redis.connection.parse_url(url))  # type: ignore[no-untyped-call]


def refused(url: str) -> str:
    """The error of a URL that cannot be."""
    with pytest.raises(SettingsError) as caught:
        check_redis_url(url)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_only_the_scheme_says_that_a_server_is_embedded() -> None:
    assert is_embedded("embedded:")
    assert is_embedded("embedded:/var/lib/x")
    assert not is_embedded("redis://embedded:6379")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:s3cret@host:1/2", "redis://***@host:1/2"),
        ("rediss://user:s3cret@host", "rediss://***@host"),
        ("redis://host/0?password=s3cret", "redis://host/0"),
        ("redis://host/0#s3cret", "redis://host/0"),
        ("unix:///run/redis.sock?db=1&password=s3cret", "unix:///run/redis.sock"),
        ("unix://user:s3cret@/run/redis.sock", "unix://***@/run/redis.sock"),
        ("embedded:/var/lib/x", "embedded:/var/lib/x"),
        ("embedded:", "embedded:"),
        ("redis://:s3cret@[::1]:7/0", "redis://***@[::1]:7/0"),
        ("redis://:s3:cret@host", "redis://***@host"),
        ("redis://:s3@cret@host", "redis://***@host"),
        ("redis://:s3/cret@host", "an unreadable URL"),
        ("redis://:12/34@host/0", "an unreadable URL"),
        ("redis://user:1#s3cret@host/0", "an unreadable URL"),
        ("redis://user:1?s3cret@host/0", "an unreadable URL"),
        ("redis://host:s3cret", "an unreadable URL"),
        ("redis://[::1", "an unreadable URL"),
        ("redis+sentinel://u:s3cret@a:1,b/main/0?sentinel_password=s3cret", "redis+sentinel://***@a:1,b/main/0"),
        ("rediss+cluster://[::1]:7000,h-2.x:7001?password=s3cret", "rediss+cluster://[::1]:7000,h-2.x:7001"),
        ("redis+cluster://:s3,cret@h", "redis+cluster://***@h"),
        ("redis+cluster://:s3@cret@h,i", "redis+cluster://***@h,i"),
        ("redis+cluster://:s3/cret@h", "an unreadable URL"),
        ("redis+cluster://h:s3cret,i", "an unreadable URL"),
        ("redis+sentinel://h,:s3cret/main", "an unreadable URL"),
        ("redis+sentinel://[::1,i/main", "an unreadable URL"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redacted(url) == shown


PASSWORDS = st.text(st.sampled_from("0123456789s3cret:@/?#[]%&=+$ \u00e9"), min_size=6, max_size=20)


@given(
    password=PASSWORDS,
    user=st.sampled_from(["", "user"]),
    host=st.sampled_from(["h", "[::1]", "", "h:7", "h:7,i"]),
    scheme=st.sampled_from(["redis", "rediss", "redis+sentinel", "redis+cluster"]),
)
@example(password="12/3456", user="", host="h", scheme="redis")
@example(password="12/3456", user="", host="h,i:7", scheme="redis+sentinel")
@example(password="1?s3cret", user="", host="h", scheme="redis")
@example(password="1?s3cret", user="", host="h,i:7", scheme="redis+sentinel")
@example(password="1#s3cret", user="", host="h", scheme="redis")
@example(password="1#s3cret", user="", host="h,i:7", scheme="redis+sentinel")
def test_no_url_of_any_form_shows_a_part_of_its_password(password: str, user: str, host: str, scheme: str) -> None:
    url = f"{scheme}://{user}:{password}@{host}/0"
    said = redacted(url)
    try:
        check_redis_url(url)
    except SettingsError as error:
        said += str(error)
    parts = [part for part in re.split(r"\W", password) if len(part) > 3]
    assert not [part for part in (password, *parts) if part in said]


@pytest.mark.parametrize(
    "option", ["decode_responses=true", "protocol=3", "retry_on_timeout=1", "socket_timeout=1", "x"]
)
def test_options_of_the_url_that_would_change_the_protocol_are_refused(option: str) -> None:
    assert "option" in refused(f"redis://h/0?{option}")
    assert "option" in refused(f"unix:///run/redis.sock?{option}")


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "rediss://h:1/0",
        "unix:///x",
        "embedded:",
        "embedded:x/y",
        "redis://:p%40@[::1]:7/0",
        "redis://h?db=3",
        f"rediss://h?ssl_ca_certs={__file__}&ssl_cert_reqs=none&ssl_check_hostname=false",
        "redis+sentinel://h/main",
        "redis+sentinel://a,b:1,[::1]:2/my-main.1/3?sentinel_username=u&sentinel_password=p",
        "rediss+sentinel://a/main?ssl_cert_reqs=none",
        "redis+cluster://h",
        "redis+cluster://u:p@a:1,b:2/0",
        f"rediss+cluster://a?ssl_ca_certs={__file__}",
    ],
)
def test_redis_urls_are_accepted(url: str) -> None:
    check_redis_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://s3cret",
        "redis:s3cret@h",
        "redis",
        "s3cret",
        "redis://h:s3cret",
        "redis://h:99999",
        "REDIS//x",
        "redis://h/x",
        "redis://h?db=s3cret",
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h/main/x",
        "redis+sentinel:///main",
        "redis+sentinel://h:99999/main",
        "redis+sentinel://h:s3cret/main",
        "redis+sentinel://h,/main",
        "redis+cluster://",
        "redis+cluster://h/1",
        "redis+cluster://h?db=1",
        "redis+cluster://h?sentinel_password=s3cret",
        "redis+cluster://:s3/cret@h",
        "redis+other://h",
        "redis://a,b",
        "redis://h?ssl_cert_reqs=none",
        "redis+cluster://h?ssl_check_hostname=false",
        "rediss://h?ssl_cert_reqs=s3cret",
        "rediss://h?ssl_check_hostname=s3cret",
        "rediss://h?ssl_ca_certs=/no/such/file",
    ],
)
def test_what_is_no_redis_url_is_refused_without_repeating_it(url: str) -> None:
    text = refused(url)
    assert text.startswith("--redis")
    assert "s3cret" not in text


def test_a_url_of_one_server_names_no_route() -> None:
    assert route_of("redis://h:1/0") is None
    assert route_of("embedded:x") is None


def test_a_sentinel_url_names_the_sentinels_and_logs_in_to_each_kind_with_its_own_words() -> None:
    # given
    url = (
        "rediss+sentinel://u:p%40w@a,b:1,[::1]:2/main/3?sentinel_username=su&sentinel_password=s%2Fp&ssl_cert_reqs=none"
    )
    # when
    route = route_of(url)
    # then
    assert route
    assert (route.kind, route.service) == ("sentinel", "main")
    assert route.seeds == (Place("a", 26379), Place("b", 1), Place("::1", 2))
    node = parse_url(route.node(Place("n", 7)))
    assert (node["host"], node["port"], node["db"], node["username"], node["password"]) == ("n", 7, 3, "u", "p@w")
    seed = parse_url(route.seed(Place("::1", 2)))
    assert (seed["host"], seed["port"], seed["username"], seed["password"]) == ("::1", 2, "su", "s/p")
    assert node["ssl_cert_reqs"] == seed["ssl_cert_reqs"] == "none"
    assert node["connection_class"] is seed["connection_class"]
    assert "db" not in seed
    assert "sentinel_password" not in node


def test_a_cluster_url_names_nodes_that_are_all_logged_in_to_alike() -> None:
    route = route_of("redis+cluster://:pw@a,b:1?username=u")
    assert route
    assert (route.kind, route.seeds) == ("cluster", (Place("a", 6379), Place("b", 1)))
    assert route.seed(Place("b", 1)) == route.node(Place("b", 1))
    options = parse_url(route.node(Place("::1", 9)))
    assert (options["host"], options["port"], options["db"]) == ("::1", 9, 0)
    assert (options["username"], options["password"]) == ("u", "pw")


def test_a_route_shows_no_password() -> None:
    text = repr(route_of("redis+sentinel://u:s3cret@a/main?sentinel_password=s3cret&password=s3cret"))
    assert "s3cret" not in text

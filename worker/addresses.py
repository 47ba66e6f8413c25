"""Redis URLs: what they may say, how they may be shown, and whom they name. Nothing here connects."""

import os
import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, urlencode, urlsplit

from multiworker.worker.errors import SettingsError

_SSL_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SSL_OPTIONS = (*_SSL_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_URL_OPTIONS = ("db", "username", "password", *_SSL_OPTIONS)
"""What may stand behind the ? of a Redis URL; how often and how long to try is the protocol's to decide."""
_CHOICES = {
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false", "yes", "no", "1", "0"),
}
EMBEDDED = "embedded"
_MANY = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_SCHEMES = ("redis", "rediss", "unix", EMBEDDED, *_MANY)
_HOST = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(?::(\d{1,5}))?", re.ASCII)
_PORTS = {"sentinel": 26379, "cluster": 6379}
_UNREADABLE = "an unreadable URL"


class Place(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Route:
    """A URL that names several servers: whom to ask for the primary, and how to log in there and here.

    Args:
        kind: whom the URL names.
        seeds: the sentinels, or some nodes of the cluster.
        service: what the sentinels call the primary; empty for a cluster.
        scheme: with TLS or without.
        login: what stands before the @, if anything.
        db: the database's number.
        options: what stands behind the ?, without what is for sentinels.
        sentinel_login: as login.
    """

    kind: Literal["sentinel", "cluster"]
    seeds: tuple[Place, ...]
    service: str
    scheme: str
    db: str
    login: str = field(repr=False)
    options: str = field(repr=False)
    sentinel_login: str = field(repr=False)

    def node(self, place: Place) -> str:
        """Return the URL of one server that holds data."""
        return f"{self.scheme}://{self.login}{place}/{self.db}?{self.options}"

    def seed(self, place: Place) -> str:
        """Return the URL of one server that knows the way."""
        if self.kind == "cluster":
            return self.node(place)
        options = [(name, value) for name, value in parse_qsl(self.options) if name.startswith("ssl_")]
        return f"{self.scheme}://{self.sentinel_login}{place}?{urlencode(options)}"


def route_of(url: str) -> Route | None:
    """Read a URL that names several servers.

    Args:
        url: one that check_redis_url() lets pass.

    Returns:
        None if it names one server.
    """
    if not _names_many(url):
        return None
    scheme, netloc, parts = _split_many(url)
    login, at, hosts = netloc.rpartition("@")
    base, _, kind = scheme.partition("+")
    path = parts.path.strip("/")
    service, _, db = path.partition("/") if kind == "sentinel" else ("", "", path)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name not in _SENTINEL_OPTIONS]
    query = dict(parse_qsl(parts.query))
    user, password = (quote(query.get(name, ""), safe="") for name in _SENTINEL_OPTIONS)
    seeds = tuple(Place(host.strip("[]"), int(port or _PORTS[kind])) for host, port in _HOST.findall(hosts))
    return Route(
        kind="cluster" if kind == "cluster" else "sentinel",
        seeds=seeds,
        service=service,
        scheme=base,
        db=db or "0",
        login=login + at,
        options=urlencode(options),
        sentinel_login=f"{user}:{password}@" if user or password else "",
    )


def is_embedded(url: str) -> bool:
    """Tell whether a Redis URL means a private server; see worker/embedded.py."""
    return url.startswith(f"{EMBEDDED}:")


def redacted(url: str) -> str:
    """Return a Redis URL as it may be shown: without password, user or query.

    Args:
        url: as given by the user, possibly malformed.
    """
    if _names_many(url):
        return _redacted_many(url)
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return _UNREADABLE
    if _has_stray_login(parts):
        return _UNREADABLE
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    slashes = "//" if url.startswith(f"{parts.scheme}://") else ""
    return f"{parts.scheme}:{slashes}{'***@' if '@' in parts.netloc else ''}{host}{port}{parts.path}"


def _redacted_many(url: str) -> str:
    scheme, netloc, parts = _split_many(url)
    _, at, hosts = netloc.rpartition("@")
    if _has_stray_login(parts) or not _are_hosts(hosts):
        return _UNREADABLE
    return f"{scheme}://{'***@' if at else ''}{hosts}{parts.path}"


def _names_many(url: str) -> bool:
    return url.partition("://")[0] in _MANY


def _split_many(url: str) -> tuple[str, str, SplitResult]:
    """Split a URL into scheme, what stands before the path, and the rest; urlsplit knows of one host only."""
    scheme, _, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    return scheme, netloc, urlsplit(f"redis://{rest[len(netloc) :]}")


def _are_hosts(text: str) -> bool:
    found = [_HOST.fullmatch(host) for host in text.split(",")]
    return all(host and 0 < int(host[2] or 1) < 65536 for host in found)


def _has_stray_login(parts: SplitResult) -> bool:
    """A password with an unquoted / ? or # begins before it."""
    return "@" in parts.path + parts.query + parts.fragment


def check_redis_url(url: str) -> None:
    """Refuse what cannot be a Redis URL, without ever repeating its password.

    Raises:
        SettingsError: one sentence, password left out.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise SettingsError(f"--redis is a URL that begins with {', '.join(name + ':' for name in _SCHEMES)}")
    if scheme != EMBEDDED and not rest.startswith("//"):
        raise SettingsError(f"--redis needs // after {scheme}:")
    if scheme == EMBEDDED:
        return
    try:
        parts = _split_many(url)[2] if scheme in _MANY else urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SettingsError(f"--redis has a host or port that cannot be: {redacted(url)}") from None
    if _has_stray_login(parts):
        raise SettingsError("--redis has a password with / ? # or @ in it: write them as %2F, %3F, %23 and %40")
    _check_place(url, scheme, parts.path)
    _check_options(scheme, parts.query)


def _check_place(url: str, scheme: str, path: str) -> None:
    if scheme in _MANY and not _are_hosts(_split_many(url)[1].rpartition("@")[2]):
        raise SettingsError(f"--redis has a host or port that cannot be: {redacted(url)}")
    if scheme.endswith("+sentinel"):
        if not re.fullmatch(r"/[\w.-]+(/\d{0,9})?", path, re.ASCII):
            raise SettingsError("--redis ends in the service's name and a database, as in redis+sentinel://a,b/main/0")
    elif scheme.endswith("+cluster"):
        if path not in {"", "/", "/0"}:
            raise SettingsError("--redis names a database, and a cluster has only one: leave it out")
    elif scheme != "unix" and "," in urlsplit(url).netloc.rpartition("@")[2]:
        raise SettingsError("--redis has several hosts: it begins with redis+sentinel:// or redis+cluster:// then")
    elif scheme != "unix" and not re.fullmatch(r"(/\d{0,9})?", path):
        raise SettingsError("--redis ends in the number of a database, as in redis://host:6379/0")


def _check_options(scheme: str, query: str) -> None:
    known = _URL_OPTIONS + (_SENTINEL_OPTIONS if scheme.endswith("+sentinel") else ())
    for option, (value, *_) in parse_qs(query, keep_blank_values=True).items():
        if option not in known:
            raise SettingsError(f"--redis has an option that is none of {', '.join(known)}: {option[:50]!r}")
        if option in _SSL_OPTIONS and not scheme.startswith("rediss"):
            raise SettingsError(f"--redis has {option} without TLS: begin it with rediss instead of {scheme[:5]}")
        if option in _CHOICES and value not in _CHOICES[option]:
            raise SettingsError(f"--redis: {option} is one of {', '.join(_CHOICES[option])}")
        if option in _SSL_FILES and not os.access(value, os.R_OK):
            raise SettingsError(f"--redis: {option} names a file that cannot be read: {value[:200]}")
        if option == "db" and (not value.isdecimal() or ("cluster" in scheme and int(value))):
            raise SettingsError(
                "--redis has an option that cannot be: db is the number of a database; a cluster has only 0"
            )

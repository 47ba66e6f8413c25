"""From an entry of Django's CACHES to the Redis URL that it means, with its password, TLS and Sentinel."""

import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from multiworker.worker.addresses import redacted
from multiworker.worker.errors import SettingsError

DJANGO = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"
BACKENDS = (DJANGO, DJANGO_REDIS)
"""Caches that lie in Redis."""
_SSL = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_CERT_REQS = {None: "none", ssl.CERT_NONE: "none", ssl.CERT_OPTIONAL: "optional", ssl.CERT_REQUIRED: "required"}
_ELSEWHERE = 'say the URL in MULTIWORKER["REDIS"]'


def in_redis(caches: Mapping[str, Any]) -> list[str]:
    """Name the caches that lie in Redis, in their order.

    Args:
        caches: Django's CACHES.
    """
    return [alias for alias, entry in caches.items() if isinstance(entry, Mapping) and entry.get("BACKEND") in BACKENDS]


def url_of(entry: Mapping[str, Any]) -> str:
    """Return the Redis URL of a cache; of several servers the first one's, for the others are copies.

    Args:
        entry: of CACHES, with one of BACKENDS.

    Returns:
        A URL as ``--redis`` takes it; it may hold a password.

    Raises:
        SettingsError: the entry says what such a URL cannot; never shows its password. The sentence begins with "has"
            or "is", and lacks the entry's name.
    """
    options = _merged(entry)
    location = _first(entry.get("LOCATION") or "")
    try:
        parts = urlsplit(location)
        port = parts.port
    except ValueError:
        raise SettingsError("has a LOCATION with a host or port that cannot be") from None
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise SettingsError("has a LOCATION that is no URL beginning with redis:, rediss: or unix:")
    options |= {name: value for name, value in parse_qsl(parts.query) if value}
    tls = parts.scheme == "rediss" or _is_true(options.get("ssl"))
    options["db"] = _database(parts, options)
    login = _login(parts.username, parts.password) or _login(options.get("username"), options.get("password"))
    query = _tls_options(options) if tls else {}
    if sentinels := options.get("sentinels"):
        return _sentinel_url(sentinels, options, parts.hostname or "", login, query, tls=tls)
    if parts.scheme == "unix":
        return f"unix://{login}{parts.path}?{urlencode({'db': options['db']})}"
    host = parts.hostname or "localhost"
    place = f"[{host}]" if ":" in host else host
    return _url("rediss" if tls else "redis", f"{login}{place}:{port or 6379}/{options['db']}", query)


def place_of(url: str) -> tuple[str, str]:
    """Return what tells one database from another: the server as shown, and what the query says of the database."""
    shown = redacted(url).replace("***@", "").replace("rediss:", "redis:", 1)
    return shown, dict(parse_qsl(urlsplit(url).query)).get("db", "")


def _merged(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the entry's OPTIONS say to the connections, under redis-py's own names."""
    given = entry.get("OPTIONS", {})
    if not isinstance(given, Mapping):
        raise SettingsError("has OPTIONS that are no dict")
    if entry["BACKEND"] == DJANGO:
        options = dict(given)
    else:
        if "ShardClient" in str(given.get("CLIENT_CLASS", "")):
            raise SettingsError(f"is spread over several servers by ShardClient: {_ELSEWHERE}")
        options = {**given.get("REDIS_CLIENT_KWARGS", {}), **given.get("CONNECTION_POOL_KWARGS", {})}
        options |= {name.lower(): given[name] for name in ("USERNAME", "PASSWORD", "DB") if given.get(name) is not None}
        if "SSLConnection" in str(options.get("connection_class", "")):
            options["ssl"] = True
        if "Sentinel" in f"{given.get('CLIENT_CLASS', '')}{given.get('CONNECTION_FACTORY', '')}":
            options["sentinels"] = given.get("SENTINELS") or ()
            options["sentinel_kwargs"] = given.get("SENTINEL_KWARGS") or {}
            if not options["sentinels"]:
                raise SettingsError("is asked for by Sentinel, and has no SENTINELS")
    if options.get("credential_provider"):
        raise SettingsError(f"has a credential_provider, which only redis-py knows: {_ELSEWHERE}")
    return options


def _first(location: object) -> str:
    if isinstance(location, str):
        return re.split("[;,]", location)[0].strip()
    if isinstance(location, Iterable):
        return str(next(iter(location), "")).strip()
    raise SettingsError("has a LOCATION that is neither text nor a list")


def _database(parts: SplitResult, options: Mapping[str, Any]) -> int:
    """Return the database's number, in redis-py's order: the query's, the path's, the options'."""
    path = unquote(parts.path).strip("/") if parts.scheme != "unix" else ""
    number = dict(parse_qsl(parts.query)).get("db") or path or options.get("db") or 0
    try:
        return int(number)
    except (TypeError, ValueError):
        raise SettingsError("has a database whose number is none") from None


def _login(user: object, password: object) -> str:
    """Return what stands before the host; parts of a URL are quoted already, which quoting undone and done keeps."""
    if not user and not password:
        return ""
    user, password = (quote(unquote(str(part or "")), safe="") for part in (user, password))
    return f"{user}:{password}@"


def _tls_options(options: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in options.items():
        if not name.startswith("ssl_") or (value is None and name != "ssl_cert_reqs"):
            continue
        if name not in _SSL:
            raise SettingsError(f"has {name}, which a Redis URL cannot say: {_ELSEWHERE}")
        if name == "ssl_cert_reqs":
            found[name] = value if isinstance(value, str) else _CERT_REQS.get(value, str(value))
        elif name == "ssl_check_hostname":
            found[name] = str(_is_true(value)).lower()
        else:
            found[name] = str(value)
    return found


def _sentinel_url(
    sentinels: Iterable[Any], options: Mapping[str, Any], service: str, login: str, query: dict[str, str], *, tls: bool
) -> str:
    try:
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in sentinels)
    except (TypeError, ValueError):
        raise SettingsError('has SENTINELS that are no list of pairs such as ("10.0.0.1", 26379)') from None
    theirs = options["sentinel_kwargs"]
    query |= {f"sentinel_{name}": str(theirs[name]) for name in ("username", "password") if theirs.get(name)}
    scheme = "rediss+sentinel" if tls else "redis+sentinel"
    return _url(scheme, f"{login}{hosts}/{service}/{options['db']}", query)


def _url(scheme: str, rest: str, query: Mapping[str, str]) -> str:
    return f"{scheme}://{rest}" + (f"?{urlencode(query)}" if query else "")


def _is_true(value: object) -> bool:
    return str(value).lower() in {"true", "yes", "1"}

"""TLS: a server is talked to only if its certificate is good, by workers, producers and commands alike."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from multiworker.worker import guide
from multiworker.worker.caller import Caller
from multiworker.worker.connections import Wire
from multiworker.worker.errors import Exit, RedisUnavailable
from tests.fix_cluster import SLOTS
from tests.fix_redis import find_server
from tests.fix_topology import HOST, Node, free_ports
from tests.system.fix_system import Engine, multiworker
from tests.waiting import sync_until

CA = trustme.CA()
PUSH = ("LPUSH", "jobs", "x")


@dataclass
class Guarded:
    """A server that speaks TLS only.

    Args:
        node: the server.
        port: where it speaks TLS.
        directory: of the certificates.
    """

    node: Node
    port: int
    directory: Path

    def url(self, scheme: str = "rediss", path: str = "", *, ca: bool = True, more: str = "") -> str:
        """Return its URL, with the authority that has signed its certificate, or without."""
        known = f"&ssl_ca_certs={quote(str(self.directory / 'ca.pem'))}" if ca else ""
        return f"{scheme}://:s3cret@{HOST}:{self.port}{path}?db=0{known}{more}"


def write(directory: Path, name: str, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """Write a certificate and its key to files."""
    CA.cert_pem.write_to_path(str(directory / "ca.pem"))
    chain, key = directory / f"{name}.pem", directory / f"{name}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key))
    return chain, key


@pytest.fixture(scope="session")
def tls_server() -> None:
    """Sees to it that the server can speak TLS; Debian's can. If not, tests are skipped, or fail under CI."""
    faulty = b"tls-port 0\nport none\n"
    said = subprocess.run([find_server(), "-"], input=faulty, capture_output=True, check=False)
    if b"'tls-port" in said.stdout + said.stderr:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("this redis-server was built without TLS")


@pytest.fixture
def serve(tls_server: None, tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """Starts servers with a certificate."""
    made: list[Node] = []

    def run(
        *names: str, expires: datetime | None = None, clients: str = "no", options: tuple[str, ...] = ()
    ) -> Guarded:
        chain, key = write(tmp_path, "server", CA.issue_cert(*(names or (HOST,)), not_after=expires))
        files = ("--tls-cert-file", str(chain), "--tls-key-file", str(key), "--tls-ca-cert-file", f"{tmp_path}/ca.pem")
        plain, port = free_ports(2)
        tls = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", clients, *files)
        made.append(Node(tmp_path / "node", plain, *tls, *options))
        made[-1].start()
        if "--cluster-enabled" in options:
            made[-1].ask("CLUSTER", "ADDSLOTS", *range(SLOTS))
            sync_until(lambda: "cluster_state:ok" in made[-1].ask("CLUSTER", "INFO"))
        made[-1].ask("CONFIG", "SET", "requirepass", "s3cret")
        return Guarded(made[-1], port, tmp_path)

    yield run
    for node in made:
        node.stop()


Serve = Callable[..., Guarded]


def by_wire(url: str) -> object:
    """Push on asyncio, as workers do."""

    async def main() -> object:
        wire = Wire(url)
        try:
            return await wire.ask(PUSH)
        finally:
            await wire.close()

    return asyncio.run(main())


def by_caller(url: str) -> object:
    """Push as producers and commands do."""
    caller = Caller(url)
    try:
        return caller.ask(PUSH)
    finally:
        caller.close()


either = pytest.mark.parametrize("push", [by_wire, by_caller])


def refusal(push: Callable[[str], object], url: str) -> str:
    """Return the error of a push, which is one line without the password."""
    with pytest.raises(RedisUnavailable) as caught:
        push(url)
    text = str(caught.value)
    assert "\n" not in text
    assert "s3cret" not in text
    return text


@either
def test_a_certificate_of_a_known_authority_is_accepted(serve: Serve, push: Callable[[str], object]) -> None:
    assert push(serve().url()) == 1


@either
def test_an_unknown_authority_is_refused(serve: Serve, push: Callable[[str], object]) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(push, serve().url(ca=False))


@either
def test_a_certificate_for_another_host_is_refused_unless_the_url_says_so(
    serve: Serve, push: Callable[[str], object]
) -> None:
    guarded = serve("redis.example.com")
    assert "certificate is not valid for '127.0.0.1'" in refusal(push, guarded.url())
    assert push(guarded.url(more="&ssl_check_hostname=false")) == 1


@either
def test_an_expired_certificate_is_refused(serve: Serve, push: Callable[[str], object]) -> None:
    guarded = serve(expires=datetime.now(UTC) - timedelta(days=1))
    assert "certificate has expired" in refusal(push, guarded.url())


@either
def test_a_server_that_asks_for_a_certificate_gets_the_clients(serve: Serve, push: Callable[[str], object]) -> None:
    guarded = serve(clients="yes")
    chain, key = write(guarded.directory, "client", CA.issue_cert("worker@example.com"))
    refusal(push, guarded.url())
    assert push(guarded.url(more=f"&ssl_certfile={chain}&ssl_keyfile={key}")) == 1


@either
def test_a_server_without_tls_is_asked_for(
    tmp_path: Path, push: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a server that waits for the rest of what it does not understand
    monkeypatch.setitem(guide.ALWAYS, "socket_connect_timeout", 0.3)
    (port,) = free_ports(1)
    node = Node(tmp_path / "plain", port)
    node.start()
    # when
    text = refusal(push, f"rediss://:s3cret@{HOST}:{node.port}")
    # then
    assert "does it speak TLS?" in text
    node.stop()


@either
def test_a_cluster_speaks_tls_too(serve: Serve, push: Callable[[str], object]) -> None:
    guarded = serve(options=("--cluster-enabled", "yes", "--tls-cluster", "yes"))
    assert push(guarded.url("rediss+cluster")) == 1
    assert "CERTIFICATE_VERIFY_FAILED" in refusal(push, guarded.url("rediss+cluster", ca=False))


def test_worker_and_commands_speak_it(serve: Serve, tmp_path: Path) -> None:
    # given
    guarded = serve()
    engine = Engine(tmp_path, guarded.url())
    try:
        engine.start()
        # when
        command = [*multiworker(), "enqueue", "quick", '{"n": 1}']
        subprocess.run([*command, "--redis", guarded.url()], check=True, capture_output=True)
        refused = subprocess.run(
            [*command, "--redis", guarded.url(ca=False)], check=False, capture_output=True, text=True
        )
        # then
        engine.until_noted(1, "end")
        assert engine.stop() == Exit.OK
        assert (refused.returncode, refused.stderr.count("\n")) == (Exit.UNAVAILABLE, 1)
        assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
        assert "s3cret" not in refused.stderr
    finally:
        engine.close()

"""Reading replies off a transport: whole ones, for who has asked, or none."""

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import AuthenticationError, ConnectionError, InvalidResponse, NoScriptError  # noqa: A004

from multiworker.worker.replies import Replies
from tests.waiting import until

PING = b"*1\r\n$4\r\nPING\r\n"


class Peer:
    """Both ends of a connection that is taken over from a stream."""

    def __init__(self, writer: asyncio.StreamWriter, end: socket.socket) -> None:
        self.writer = writer
        self.end = end
        self.replies = Replies(writer.transport)

    async def says(self, *pieces: bytes) -> None:
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(self.end, piece)
            await asyncio.sleep(0)


@asynccontextmanager
async def connected() -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _, writer = await asyncio.open_connection(sock=ours)
    try:
        yield Peer(writer, theirs)
    finally:
        theirs.close()
        writer.close()
        async with asyncio.timeout(10):
            await writer.wait_closed()  # the stream has heard of the end


def with_a_peer(test: Callable[[Peer], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run a test in an event loop of its own, with a connection."""

    @functools.wraps(test)
    async def run() -> None:
        async with connected() as peer:
            await test(peer)

    def begin() -> None:
        asyncio.run(run())

    begin.__name__ = test.__name__
    return begin


@with_a_peer
async def test_each_gets_its_reply_be_it_in_pieces(peer: Peer) -> None:
    for number in (1, 2):
        reply = peer.replies.ask(PING, 1)
        assert await asyncio.get_running_loop().sock_recv(peer.end, 100) == PING
        await peer.says(b"$3\r\n", b"no", b"%d\r\n" % number)
        assert await reply == [b"no%d" % number]


@with_a_peer
async def test_commands_that_went_together_are_answered_together(peer: Peer) -> None:
    replies = peer.replies.ask(PING * 2, 2)
    await peer.says(b"*2\r\n:1\r\n$-1\r\n")
    assert not replies.done()
    await peer.says(b"-NOSCRIPT No matching script.\r\n")
    first, second = await replies
    assert first == [1, None]
    assert isinstance(second, NoScriptError)


@pytest.mark.parametrize(
    ("said", "error"), [(b"-NOAUTH Authentication required.\r\n", AuthenticationError), (b"what?\r\n", InvalidResponse)]
)
def test_after_what_is_of_no_use_nothing_more_is_asked(said: bytes, error: type[Exception]) -> None:
    @with_a_peer
    async def main(peer: Peer) -> None:
        reply = peer.replies.ask(PING, 1)
        await peer.says(said)
        with pytest.raises(error):
            await reply
        with pytest.raises(error):
            peer.replies.ask(PING, 1)

    main()


@pytest.mark.parametrize("said", [b":1\r\n", b"$5\r\nhal"], ids=["whole", "part"])
def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next(said: bytes) -> None:
    @with_a_peer
    async def main(peer: Peer) -> None:
        both = peer.replies.ask(PING * 2, 2)
        await peer.says(b":1\r\n:2\r\n")
        await both
        await peer.says(said)
        await until(lambda: peer.replies._trouble)
        with pytest.raises(ConnectionError, match="nobody had asked"):
            peer.replies.ask(PING, 1)

    main()


@with_a_peer
async def test_more_replies_than_commands_are_an_error(peer: Peer) -> None:
    reply = peer.replies.ask(PING, 1)
    await peer.says(b":1\r\n:2\r\n")
    with pytest.raises(ConnectionError, match="nobody had asked"):
        await reply


@with_a_peer
async def test_who_waits_hears_that_the_connection_has_ended(peer: Peer) -> None:
    reply = peer.replies.ask(PING, 1)
    await asyncio.get_running_loop().sock_recv(peer.end, 100)
    peer.end.close()
    with pytest.raises(ConnectionError, match="closed by server"):
        await reply
    with pytest.raises(ConnectionError):
        peer.replies.ask(PING, 1)


@with_a_peer
async def test_a_late_reply_to_who_has_given_up_is_dropped(peer: Peer) -> None:
    reply = peer.replies.ask(PING, 1)
    reply.cancel()
    await peer.says(b":1\r\n")
    await asyncio.sleep(0)
    assert reply.cancelled()

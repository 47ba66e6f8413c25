"""What connects a child to Redis."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from multiworker.worker.broker import Broker
from multiworker.worker.results import Records
from multiworker.worker.settings import Settings


class Links(NamedTuple):
    """A child's connections.

    Args:
        brokers: one for each queue.
        records: queue -> who records how its tasks fare.
    """

    brokers: Sequence[Broker]
    records: Mapping[str, Records]


def links_of(settings: Settings) -> Links:
    """Make all that a child needs, and open none: so a template can do it for its children.

    Args:
        settings: Redis URL, queues, lease.
    """
    brokers = [Broker(queue, settings) for queue in settings.queue]
    return Links(brokers, {broker.queue: Records(broker, settings.redis) for broker in brokers})

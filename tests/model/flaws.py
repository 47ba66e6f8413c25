"""Flaws that the protocol could have; each was once thought of as a simpler way."""

from enum import Enum


class Flaw(Enum):
    """One wrong rule in the place of a right one."""

    NONE = "none"
    WAIT_ERROR_RECONCILES = "an error of the wait is taken for one of the steps, and reconciled"
    SERVER_CHOOSES_NUMBER = "Redis chooses the request numbers: one for each reconcile"
    NO_NUMBER = "requests have no number"
    ITEM_NAMES_DELIVERY = "a delivery is named by its item alone, and a step may claim at once what it has settled"
    FORGETS_AT_SEND = "what ended is forgotten when it is sent, not when it is confirmed"
    OWN_HANDOFF = "every worker has a hand-off of its own, which is forgotten with the worker"
    NO_GRACE = "no grace after an outage"
    TRUSTS_OLD_TICK = "recover does not ask whether anybody looked lately"
    CALLER_DECIDES = "whoever saw the lease expired decides, and recover does not look again"
    REGISTERS_AGAIN = "a lost register is sent again under the same id, which Redis accepts"

"""What goes wrong in transit, for the responses of any protocol.

A fault turns a correct response into a bad one. `switched` puts it between a publisher and its
handler, for some of the requests:

    publisher.answers[path] = switched(honest, status(503, retry_after="2"), times=1)
"""

from collections.abc import Callable
from dataclasses import replace

from publisher import Answer, Request

from pipeline.drill.faults import (
    Fault,
    changed,
    chunked,
    cut,
    doubled_length,
    drip,
    error_in_200,
    gzip_bomb,
    html,
    length,
    redirect,
    self_signed,
    slow,
    status,
)

__all__ = [
    "Fault",
    "changed",
    "chunked",
    "cut",
    "cut_at_a_line",
    "doubled_length",
    "drip",
    "error_in_200",
    "gzip_bomb",
    "html",
    "length",
    "redirect",
    "self_signed",
    "slow",
    "status",
    "switched",
]

Handler = Callable[[Request], Answer]


def switched(
    honest: Handler,
    fault: Fault,
    *,
    times: int | None = None,
    when: Callable[[Request], bool] = lambda request: True,
) -> Handler:
    """A handler with a fault.

    Parameters
    ----------
    times: how many of the answers are bad, the first ones; all when left out.
    when:  which requests the fault is for; the others are neither bad nor counted.
    """
    left = [float("inf") if times is None else times]

    def handler(request) -> Answer:
        answer = honest(request)
        if not when(request) or left[0] <= 0:
            return answer
        left[0] -= 1
        return fault(answer)

    return handler


def cut_at_a_line(share: float = 0.5) -> Fault:
    """The worst cut: after a complete line, without a length."""

    def fault(answer: Answer) -> Answer:
        end = answer.body.index(b"\n", int(len(answer.body) * share)) + 1
        return replace(answer, body=answer.body[:end], length=None)

    return fault

"""Which hosts are on the public internet: redirects of a publisher are followed to no others."""

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from urllib3.util import parse_url

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_UNICAST = ipaddress.ip_network("2000::/3")  # all that is assigned (IANA, IPv6 address space)
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))

# Special networks (listed by IANA) that Python before 3.13 considers public, at least in part.
# Clouds offer services to their machines in the first.
_SPECIAL = [ipaddress.ip_network(one) for one in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")]


def host_of(url: str) -> str:
    """The host that a request for a URL goes to; empty when URL parsers disagree about it.

    A backslash, an encoded character or a letter outside of ASCII in the host makes one library
    connect to another host than the one that was checked.
    """
    try:
        host = urlsplit(url).hostname or ""
        other = (parse_url(url).host or "").strip("[]").lower()
    except ValueError:
        return ""
    is_host = _NAME.fullmatch(host) or ":" in host
    return host if is_host and host == other else ""


def is_inside(host: str) -> bool:
    """Whether a host is, by its name alone, this machine or an address that is not public.

    An IPv6 address that represents an IPv4 address (NAT64, 6to4, mapped) does not count as public.
    """
    try:
        return not _is_public(ipaddress.ip_address(host))
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2].lower()
        # A name whose last label is a number is an address in the notation of C's inet_aton.
        return last in ("localhost", "local", "internal") or bool(
            re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last)
        )


def inside_address(host: str) -> str:
    """An address of a name that is not public; empty when all are, or the name has none.

    Where the network has no IPv4, its resolver returns NAT64 addresses (RFC 6147). They are checked
    as the IPv4 addresses that they represent.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ""  # the request itself will fail
    texts = [str(entry[4][0]).partition("%")[0] for entry in found]
    public = [_is_public(_translated(ipaddress.ip_address(text))) for text in texts]
    return next((text for text, is_public in zip(texts, public, strict=True) if not is_public), "")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address.version == 6 and (address not in _UNICAST or address.sixtofour):
        return False
    is_special = any(address in network for network in _SPECIAL)
    return address.is_global and not address.is_multicast and not is_special


def _translated(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that a NAT64 address represents (RFC 6052, 2.2); any other unchanged."""
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address

"""A folder listing of Apache's mod_autoindex, in its three styles.

https://httpd.apache.org/docs/2.4/mod/mod_autoindex.html
"""

from html import escape
from urllib.parse import quote

STYLES = ("plain", "fancy", "table")


def page(path: str, names: list[str], style: str = "table") -> bytes:
    """The listing of a folder.

    Parameters
    ----------
    path:  of the folder on the server, with `/` at both ends.
    names: what is in it; the names of folders end with `/`.
    style: "plain" (a list), "fancy" (preformatted, sort links) or "table" (HTMLTable).
    """
    title = f"Index of {escape(path.rstrip('/') or '/')}"
    parent = path.rstrip("/").rpartition("/")[0] + "/"
    links = [(parent, "Parent Directory")] + [(quote(name), name) for name in names]
    body = {"plain": _plain, "fancy": _fancy, "table": _table}[style](links)
    head = '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n<html>\n <head>\n'
    return (
        f"{head}  <title>{title}</title>\n </head>\n <body>\n<h1>{title}</h1>\n"
        f"{body}</body></html>\n"
    ).encode()


def _anchor(link: str, text: str) -> str:
    return f'<a href="{escape(link)}">{escape(text)}</a>'


_SORTS = [("?C=N;O=D", "Name"), ("?C=M;O=A", "Last modified"), ("?C=S;O=A", "Size")]


def _plain(links: list[tuple[str, str]]) -> str:
    return "<ul>" + "".join(f"<li>{_anchor(*link)}</li>\n" for link in links) + "</ul>\n"


def _fancy(links: list[tuple[str, str]]) -> str:
    sorts = " ".join(_anchor(*link) for link in _SORTS)
    lines = "".join(
        f'<img src="/icons/blank.gif" alt="[   ]"> {_anchor(*link)}  2026-03-02 09:14  1.2M  \n'
        for link in links
    )
    return f"<pre>{sorts}<hr>{lines}<hr></pre>\n"


def _table(links: list[tuple[str, str]]) -> str:
    sorts = "".join(f"<th>{_anchor(*link)}</th>" for link in _SORTS)
    rows = "".join(
        f'<tr><td>{_anchor(*link)}</td><td align="right">2026-03-02 09:14  </td>'
        '<td align="right">1.2M</td></tr>\n'
        for link in links
    )
    return f"  <table>\n   <tr>{sorts}</tr>\n{rows}</table>\n"

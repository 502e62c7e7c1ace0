"""Renders one self-contained HTML page, with its style sheet, tables and pictures.

Every function takes plain text, which it escapes, and returns `Html`, which is not escaped again.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from nas.report.words import Tile

STYLE = """
:root{color-scheme:light dark;--ink:#24292f;--muted:#6e7781;--grid:#d8dee4;--paper:#fff;
--wash:#f6f8fa;--accent:#2f6fb0;--note:#fdf6e3;--note-edge:#d9b44a}
@media (prefers-color-scheme:dark){:root{--ink:#dfe3e8;--muted:#959da7;--grid:#343b44;
--paper:#14181d;--wash:#1c2128;--accent:#7ab3e8;--note:#262214;--note-edge:#8f7a34}}
@media print{:root{color-scheme:light;--ink:#24292f;--muted:#57606a;--grid:#d8dee4;--paper:#fff;
--wash:#fff;--accent:#24292f;--note:#fff;--note-edge:#8f7a34}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
main{max-width:66rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.25rem;line-height:1.3;margin:3rem 0 .8rem;padding-top:1.1rem;
border-top:1px solid var(--grid);letter-spacing:-.01em}
h3{font-size:1rem;margin:1.6rem 0 .4rem}
p{margin:.5rem 0;max-width:46rem}
a{color:var(--accent)}
.muted,figcaption{color:var(--muted)}
.subtitle{color:var(--muted);margin:.4rem 0 1.6rem;max-width:none}
.subtitle b{color:var(--ink);font-weight:600}
dl.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:1px;margin:0;
background:var(--grid);border:1px solid var(--grid);border-radius:8px;overflow:hidden}
.tiles div{background:var(--paper);padding:.9rem 1.1rem}
.tiles dt{font-size:.8rem;color:var(--muted)}
.tiles dd{margin:0}
.tiles .value{font-size:1.55rem;line-height:1.35;font-weight:600;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.tiles small{font-size:.66em;white-space:nowrap}
.tiles .detail{font-size:.82rem;color:var(--muted)}
.note{margin:1.2rem 0;padding:.7rem 1.1rem;background:var(--note);max-width:none;
border-left:3px solid var(--note-edge);border-radius:0 6px 6px 0;font-size:.93rem}
.note p{max-width:none}
figure{margin:1rem 0}
figcaption,p.muted{font-size:.85rem;max-width:46rem;margin-top:.35rem}
.scroll{overflow-x:auto}
.scroll.tall{max-height:46rem;overflow:auto;border:1px solid var(--grid);border-radius:8px;
padding:.8rem}
figure svg{display:block;max-width:100%;height:auto}
figure.wide svg{min-width:40rem;margin:0 auto}
figure.natural svg{max-width:none;margin:0 auto}
svg text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",
sans-serif!important}
.beside{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:1.5rem;
align-items:start}
.beside figure{margin:0}
@media (max-width:56rem){.beside{grid-template-columns:minmax(0,1fr)}}
table{border-collapse:collapse;font-size:.88rem;line-height:1.4;width:100%}
th,td{padding:.38rem .8rem .38rem 0;text-align:left;vertical-align:top;
border-bottom:1px solid var(--grid)}
th{font-weight:600;white-space:nowrap}
thead th{color:var(--muted);font-size:.8rem}
td.number,th.number{text-align:right;padding-right:1.3rem;font-variant-numeric:tabular-nums;white-space:nowrap}
tr:last-child td,tr:last-child th{border-bottom:0}
code,pre{font:.84em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
td code{overflow-wrap:anywhere;display:inline-block;min-width:18rem;max-height:6em;overflow:auto}
pre{background:var(--wash);border:1px solid var(--grid);border-radius:8px;padding:.8rem 1rem;
overflow-x:auto;margin:.6rem 0}
summary{cursor:pointer;color:var(--accent)}
footer{margin-top:3rem;font-size:.82rem;color:var(--muted)}
@media (max-width:40rem){main{padding:1.4rem 1rem 3rem}h1{font-size:1.5rem}
h2{margin-top:2.2rem}.tiles .value{font-size:1.3rem}
dl.tiles{grid-template-columns:1fr 1fr}.tiles div{padding:.7rem .8rem}}
@media print{body{font-size:10.5pt}main{max-width:none;padding:0}
h2{break-after:avoid}figure,.tiles,tr,.note{break-inside:avoid}
figure svg,figure.wide svg,figure.natural svg{min-width:0;max-width:100%;max-height:24cm}
.scroll,.scroll.tall,td code{overflow:visible;max-height:none}pre{white-space:pre-wrap}}
"""


class Html(str):
    """Text that is HTML and needs no escaping."""


def html(value: Any) -> Html:
    """The value as escaped text, or unchanged if it is Html."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def element(name: str, content: Any, css: str = "") -> Html:
    attribute = f' class="{css}"' if css else ""
    return Html(f"<{name}{attribute}>{html(content)}</{name}>")


def joined(parts: Iterable[Any]) -> Html:
    return Html("\n".join(html(part) for part in parts))


def section(title: str, *parts: Any) -> Html:
    return element("section", joined([element("h2", title), *parts]))


def table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Iterable[int] = ()
) -> Html:
    """A table of rows below a head. `numbers` are the columns that are aligned right."""
    css = dict.fromkeys(numbers, "number")

    def row(cells: Sequence[Any], tag: str) -> Html:
        return element(
            "tr", Html("".join(element(tag, c, css.get(i, "")) for i, c in enumerate(cells)))
        )

    top = element("thead", row(head, "th"))
    body = element("tbody", joined(row(cells, "td") for cells in rows))
    return element("div", element("table", joined([top, body])), "scroll")


def tiles(values: Iterable[Tile]) -> Html:
    """The few numbers that matter most, side by side."""
    return element("dl", joined(map(_tile, values)), "tiles")


def _tile(tile: Tile) -> Html:
    deviation = [element("small", tile.deviation)] if tile.deviation else []
    rows = [
        element("dt", tile.what),
        element("dd", joined([tile.value, *deviation]), "value"),
        element("dd", tile.detail, "detail"),
    ]
    return element("div", joined(rows))


def architecture(choices: str) -> Html:
    """Choices separated by commas, which a line may be broken after."""
    return element("code", Html(",<wbr>".join(map(escape, choices.split(",")))))


def picture(svg: str, *, caption: str, alt: str, css: str = "wide", scroll: str = "scroll") -> Html:
    """A figure with an <svg>; `alt` describes the picture in words."""
    drawn = Html(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1))
    return element(
        "figure", joined([element("div", drawn, scroll), element("figcaption", caption)]), css
    )


def folded(title: str, content: Any) -> Html:
    return element("details", joined([element("summary", title), content]))


def command(*lines: str) -> Html:
    return element("pre", element("code", "\n".join(lines)))


def document(title: str, parts: Iterable[Any], *, meta: Mapping[str, str]) -> str:
    """The whole page. Its content policy forbids all requests, so that it is safe to open."""
    tags = "".join(
        f'<meta name="{escape(name)}" content="{escape(content)}">\n'
        for name, content in meta.items()
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n{tags}'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{joined(parts)}\n</main>\n</body>\n</html>\n"
    )

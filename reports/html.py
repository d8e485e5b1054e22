"""Write the report: one HTML file that opens offline, asks for nothing and runs only its own script.

The page carries a content security policy that allows exactly the inlined stylesheet and script (by their
sha256) and pictures from `data:`; even a prompt that got past the escaping could neither run nor load
anything.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from prefbench.bench.atomic import write_text
from prefbench.bench.user_cache import cache_folder
from prefbench.reports.palette import palette_css
from prefbench.reports.view import ReportView, build_view
from prefbench.reports.view_pictures import ImageKey

__all__ = ["json_for_script", "page", "policy", "render", "write_report"]

FOLDER = Path(__file__).parent

# Inside <script> the parser looks for "</script" and "<!--" only; without "<" there is neither. ">" and "&"
# go too, so that the block also survives being read as XML. The line separators end a line in old JavaScript.
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def json_for_script(value: Any) -> Markup:
    r"""JSON that cannot leave its script element, whatever text is in it.

    >>> json_for_script({"prompt": "</script>"})
    Markup('{"prompt":"\\u003c/script\\u003e"}')

    Raises:
        ValueError: a number that is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    # Markup is right here and only here: the loop above is the escaping.
    return Markup(text)


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def policy(style: str, script: str | None) -> str:
    """The content security policy: this stylesheet, this script or none, embedded pictures, nothing else."""
    allowed = "'none'" if script is None else _source_hash(script)
    return (
        f"default-src 'none'; style-src {_source_hash(style)}; script-src {allowed}; img-src "
        "data:; base-uri 'none'; form-action 'none'"
    )


def page(
    template: str,
    view: Any,
    *,
    styles: Sequence[str],
    script: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> str:
    """A page from its view: the palette and stylesheets inlined, the policy that allows exactly these.

    Args:
        template: file of `templates`.
        view: what the template prints.
        styles: files of `assets`, in order.
        script: file of `assets`; None for a page that runs none.
        data: what the script reads.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled_templates(),
    )
    style = palette_css() + "".join(_asset(name) for name in styles)
    code = None if script is None else _asset(script)
    return environment.get_template(template).render(
        view=view,
        policy=policy(style, code),
        style=Markup(style),  # our own files, whose hashes the policy names
        script=None if code is None else Markup(code),
        data=None if data is None else json_for_script(data),
    )


def _compiled_templates() -> FileSystemBytecodeCache | None:
    """Templates compiled by an earlier run, a tenth of a small comparison's time; none where nothing can be kept."""
    folder = cache_folder() / "templates"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a cache only: the page is the same without
        return None
    return FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None


def _asset(name: str) -> str:
    return (FOLDER / "assets" / name).read_text(encoding="utf-8")


def render(view: ReportView) -> str:
    """The report as text; the same view gives the same text."""
    return page(
        "report.html.jinja", view, styles=("report.css",), script="report.js", data=view.pictures.data
    )


def write_report(
    results: dict[str, Any],
    scores: pd.DataFrame,
    out: Path,
    images: Mapping[ImageKey, Path] | None = None,
) -> Path:
    """Write the report, whole or not at all.

    Args:
        results: the dict of results.json, schema 1.
        scores: the scores table it was made from.
        out: the HTML file to write.
        images: (checkpoint, prompt_id, seed) -> image file; None for scores made elsewhere.

    Returns:
        `out`.

    Raises:
        DataError: results of another schema, a hole in the scores table, a picture that cannot be read.
    """
    write_text(out, render(build_view(results, scores, images)))
    return out

"""HTML pages: self-contained files from the Jinja2 templates in ``templates``.

All reports share ``layout.html.j2`` and ``style.css``. Templates escape every text; only charts
and ``Markup`` are inserted as they are. A page needs no network.
"""

import base64
import functools
import io
import math

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image


def render(template: str, **values: object) -> str:
    """The text of a page.

    Args:
      template: a file in ``templates``, without ``.html.j2``.
      **values: what it names.

    Raises:
      jinja2.UndefinedError: it names a value that is not given.
    """
    return _environment().get_template(f"{template}.html.j2").render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ganimation_jax.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "words": words}
    environment.globals["with_error"] = with_error
    return environment


def number(value: float) -> str:
    """At most four significant digits; "-" for NaN.

    >>> [number(value) for value in (math.nan, 1024.0, 0.00123, 0.5, 27.813, 2048.4)]
    ['-', '1,024', '0.0012', '0.500', '27.8', '2048']
    """
    if math.isnan(value):
        return "-"
    if float(value).is_integer() and abs(value) < 1e12:
        return f"{value:,.0f}"
    size = abs(value)
    if size < 0.01:
        return f"{value:.2g}"
    return f"{value:.{3 if size < 10 else 1 if size < 1000 else 0}f}"


def with_error(value: float, error: float) -> Markup:
    """A value with its standard error, to two digits of the error.

    >>> str(with_error(0.4132, 0.021))
    '0.413 <span class="pm">± 0.021</span>'
    """
    if not error > 0:  # NaN, or exact
        return Markup(number(value))
    places = min(max(1 - math.floor(math.log10(error)), 0), 4)
    return Markup('{} <span class="pm">± {}</span>').format(
        f"{value:.{places}f}", f"{error:.{places}f}"
    )


def words(name: object) -> str:
    """A name with spaces in place of underscores."""
    return str(name).replace("_", " ")


def data_uri(pixels: np.ndarray, quality: int = 90) -> str:
    """An image, uint8 ``h w 3``, as the ``src`` of an ``img``."""
    buffer = io.BytesIO()
    # Full colour resolution: halved, red lips bleed. A PNG of faces is five times larger.
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

"""The built site is light, and nothing is lost by that: book/lighten.mjs, book/_static/revive.js."""

from collections.abc import Callable

import pytest

from .conftest import DESKTOP, PHONE, SITE, Visit
from .test_site import PAGES, parsed, sheet

LANDING = "book/intro.html"
SHEETS = (
    "styles/theme.css",
    "styles/pydata-sphinx-theme.css",
    "pygments.css",
    "styles/sphinx-book-theme.css",
    "copybutton.css",
    "mystnb.*.css",
    "sphinx-design.min.css",
    "katex/katex.min.css",
    "katex-math.css",
    "icl.css",
)
"""What the one sheet is made of, in its order."""

LOOKS = r"""() => [...document.querySelectorAll('body *:not(svg *)')].map((element) =>
  [null, '::before', '::after'].map((pseudo) => {
    const style = getComputedStyle(element, pseudo);
    if (pseudo && style.content === 'none') return '';
    // What is measured in pixels depends on the fonts of icons, too; a variable is seen where it is used.
    const measured = /^--|size|width|height|origin|^(top|bottom|left|right)$|inset|^margin/;
    const names = [...style].filter((name) => !measured.test(name));
    return names.map((name) => `${name}: ${style.getPropertyValue(name)}`).join('\n');
  }).join('\n'))"""

TAKE = """async (sheets) => {
  const ours = document.querySelector('link[rel=stylesheet]');
  await Promise.all(sheets.map((name) => new Promise((resolve, reject) => {
    const href = new URL(name, ours.href).href;
    const link = document.createElement('link');
    Object.assign(link, { rel: 'stylesheet', href, onload: resolve, onerror: reject });
    ours.before(link);
  })));
  ours.remove();
}"""


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("path", [LANDING, "notebooks/inside.html", "book/reference_models.html"])
def test_a_page_looks_as_with_the_whole_style_sheets(
    visit: Callable[..., Visit], path: str, size: tuple[int, int]
) -> None:
    opened = visit(path, size=size, fresh=True)
    ours = opened.page.evaluate(LOOKS)
    static = SITE / "_static"
    names = [str(next(static.glob(name)).relative_to(static)) for name in SHEETS]
    opened.page.evaluate(TAKE, names)
    whole = opened.page.evaluate(LOOKS)
    # The whole sheets ask for the whole fonts of icons, which are not there any more.
    opened.page.wait_for_load_state("networkidle")
    opened.allow("404")
    assert len(ours) == len(whole) > 100
    lost = [
        set(theirs.split("\n")) ^ set(mine.split("\n"))
        for mine, theirs in zip(ours, whole, strict=True)
        if mine != theirs
    ]
    assert not lost, lost[:5]


def test_a_page_waits_for_little_before_it_is_painted() -> None:
    for path in PAGES:
        if path != "search.html":  # which the theme fills by script
            scripts = parsed(path).select("head script[src]")
            assert all(tag.has_attr("defer") or tag.get("type") == "module" for tag in scripts), (
                path
            )
        if path != "slides.html" and not path.startswith("embed/"):
            assert len(sheet(path)) < 180_000, path


ICONS = r"""async () => {
  await document.fonts.ready;
  const canvas = Object.assign(document.createElement('canvas'), { width: 40, height: 40 });
  const brush = canvas.getContext('2d', { willReadFrequently: true });
  const drawn = (font, text) => {
    brush.clearRect(0, 0, 40, 40);
    brush.font = font;
    brush.fillText(text, 4, 32);
    return brush.getImageData(0, 0, 40, 40).data.join();
  };
  return [...document.querySelectorAll('[class*="fa-"]')].map((icon) => {
    const { content, fontFamily, fontWeight } = getComputedStyle(icon, '::before');
    const font = `${fontWeight} 24px ${fontFamily}`;
    return [icon.className, drawn(font, JSON.parse(content)) !== drawn(font, '\uefff')];
  });
}"""


@pytest.mark.parametrize("path", [LANDING, "notebooks/setting.html"])
def test_the_fonts_hold_the_icons_that_are_drawn(visit: Callable[..., Visit], path: str) -> None:
    page = visit(path).page
    page.evaluate("document.fonts.load('900 24px \"Font Awesome 6 Free\"', '\\uf186')")
    icons = dict(page.evaluate(ICONS))
    assert len(icons) > 3
    assert not [name for name, there in icons.items() if not there]


WIDTHS = """async () => {
  const brush = document.createElement('canvas').getContext('2d');
  const text = [...document.querySelectorAll('article p')].map((one) => one.textContent).join(' ');
  const width = (font) => {
    brush.font = font;
    return brush.measureText(text).width;
  };
  const found = [];
  for (const style of ['normal', 'italic']) {
    const [ours, like] = [`${style} 20px "Source Serif 4"`, `${style} 20px "Serif 4 as DejaVu"`];
    await Promise.all([document.fonts.load(ours), document.fonts.load(like)]);
    found.push([width(like) / width(ours), width(like) / width(`${style} 20px "DejaVu Serif"`)]);
  }
  return found;
}"""


def test_until_the_type_is_there_another_one_is_as_wide(visit: Callable[..., Visit]) -> None:
    for ratio, shrunk in visit("book/intro.html").page.evaluate(WIDTHS):
        if shrunk > 0.95:
            pytest.skip("this machine has no DejaVu Serif; Debian's browsers bring it")
        assert ratio == pytest.approx(1, abs=0.02)

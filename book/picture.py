"""Take the README's picture anew from the built book: `python book/picture.py _build/html`."""

import argparse
import io
import threading
from pathlib import Path

import browsers
from PIL import Image
from playwright.sync_api import sync_playwright
from serve import make_server

VIEW = "book/intro.html?a=0.5"
PICTURE = Path(__file__).parent / "_static"


def main() -> None:
    """Write explorer-light.png and explorer-dark.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    server = make_server(parser.parse_args().folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = browsers.launch(playwright)
        for theme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 1280, "height": 1000}, device_scale_factor=1.5
            )
            page.add_init_script(
                f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');"
            )
            page.goto(f"http://127.0.0.1:{server.server_port}/{VIEW}")
            page.wait_for_selector("[data-stage=live]", timeout=90_000)
            page.wait_for_function("document.fonts.status === 'loaded'")
            # The plot with its slider and legend, not the rows of buttons below.
            body = page.locator("[data-stage] .icl-explorer[role=group] > .icl-body").bounding_box()
            slider = page.locator("[data-stage] .icl-left > .icl-slider").first.bounding_box()
            assert body is not None and slider is not None
            taken = page.screenshot(
                clip={
                    "x": body["x"] - 16,
                    "y": body["y"] - 16,
                    "width": body["width"] + 32,
                    "height": slider["y"] + slider["height"] - body["y"] + 20,
                },
            )
            # Of so few colours 256 lose nothing that is seen, and take a third of the room.
            few = (
                Image.open(io.BytesIO(taken)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            )
            few.save(PICTURE / f"explorer-{theme}.png", optimize=True)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()

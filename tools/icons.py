"""Draw the icons that some browsers want beside the SVG: `python tools/icons.py`, after a change of book/web/logo.svg.

Needs Chromium, which draws the SVG as readers' browsers do.
"""

import shutil
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
LOGO = ROOT / "book" / "web" / "logo.svg"
TARGET = ROOT / "book" / "icons"  # copied to the site's root


def drawn(page: Page, logo: Path, size: int, ground: str = "transparent") -> Image.Image:
    """Return the logo as pixels, on a ground that shows where it has none."""
    page.set_viewport_size({"width": size, "height": size})
    style = f"margin: 0; background: {ground}"
    page.set_content(f'<body style="{style}">{logo.read_text()}</body>')
    page.evaluate("size => { const { style } = document.querySelector('svg'); style.cssText = "
                  "`display: block; width: ${size}px; height: ${size}px`; }", size)  # fmt: skip
    return Image.open(BytesIO(page.screenshot(omit_background=True)))


def main() -> None:
    """Write the icons."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        drawn(page, LOGO, 32).save(TARGET / "favicon.ico", sizes=[(32, 32)])
        # telephones round the corners themselves: a ground of the logo's own colour fills them
        drawn(page, LOGO, 180, "#0f6674").convert("RGB").save(TARGET / "apple-touch-icon.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()

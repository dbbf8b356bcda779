"""Takes the pictures of docs/CONSOLE.md: screenshots.py FOLDER"""

import base64
import io
import pathlib
import sys

from PIL import Image

from world import Browser, chromium, colours, demo

MESSAGES = 10_000
SEED = 1
WIDE = 1600
NARROW = 390
# The highest picture: below stand more rows of the same.
HIGHEST = 1300
# So few colours are enough for text and lines, and are half the size.
COLOURS = 128


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with demo(MESSAGES, SEED) as (address, role, password, _), chromium() as driver:
        browser = Browser(driver, address)
        camera = Camera(driver, folder)
        browser.sign_in(role, password)
        browser.go("/audit")
        browser.send("form[action='/audit/run']")
        browser.wait_for("promise holds")
        browser.go("/audit")
        camera.take("audit")
        browser.go("/")
        camera.take("now")
        camera.take("now-dark", scheme="dark")
        browser.go("/dead-letters?status=open")
        camera.take("dead-letters")
        browser.go("/dead-letters/list?status=open")
        camera.take("letters-narrow", width=NARROW)
        browser.go("/dead-letters/list?code=version_pre_release&status=open")
        browser.click("td a[href^='/dead-letters/']")
        camera.take("letter")
        browser.go("/plans")
        browser.click("td a[href^='/plans/']")
        camera.take("plan")
        browser.go("/loaders")
        camera.take("loaders")
        for place in ["costs", "outbox", "actions", "check"]:
            browser.go(f"/{place}")
            camera.take(place)


class Camera:
    """Writes what a browser shows."""

    def __init__(self, driver, folder):
        self.driver = driver
        self.folder = folder

    def take(self, name, width=WIDE, scheme="light"):
        colours(self.driver, scheme)
        self.size(width, 800)
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        self.size(width, min(height, HIGHEST))
        picture = Image.open(io.BytesIO(base64.b64decode(self.tell("Page.captureScreenshot")["data"])))
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        path = self.folder / f"{name}.png"
        few.save(path, optimize=True)
        print(f"{path}  {few.width} x {few.height}  {path.stat().st_size // 1024} KiB")

    def size(self, width, height):
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def tell(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

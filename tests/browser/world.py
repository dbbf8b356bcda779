"""A demo with the console, and a Chromium that looks at it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import typing

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

# How long a page may take, and what a form leads to.
PATIENCE = 30


class Demo(typing.NamedTuple):
    """A demo with its console."""

    address: str
    role: str
    password: str
    # The URL of its database, by the role that made it.
    database: str


@contextlib.contextmanager
def demo(messages, seed, program="target/debug/turnstile"):
    """A demo as long as it is used."""
    command = [program, "demo", "--console", "--messages", str(messages), "--seed", str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        console = re.compile(r"The console is at (\S+) \(role: (\S+), password: (\S+)\)")
        database = None
        for line in process.stdout:
            if exported := re.search(r"export DATABASE_URL='(.*)'", line):
                database = exported[1]
            if found := console.search(line):
                break
        else:
            raise SystemExit(f"the demo ended with {process.wait()} before it opened the console")
        yield Demo(*found.groups(), database)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


@contextlib.contextmanager
def chromium():
    """A Chromium without a screen, by the system's own driver: nothing is downloaded."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    options.add_argument("--headless=new")
    options.add_argument("--hide-scrollbars")
    options.add_argument("--force-device-scale-factor=1")
    if os.geteuid() == 0:
        # Chromium's sandbox refuses to be root's.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def colours(driver, scheme):
    """Shows pages as to somebody whose system is light or dark, and still: colours that fade are no colours of a page."""
    features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


class Browser:
    """Does what people do on the pages of a console."""

    def __init__(self, driver, address):
        self.driver = driver
        self.address = address.rstrip("/")

    def sign_in(self, role, password):
        self.go("/")
        self.send("form.sign-in", role=role, password=password)

    def go(self, path):
        self.driver.get(self.address + path)

    def find(self, selector):
        return WebDriverWait(self.driver, PATIENCE).until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))

    def wait_for(self, words):
        """Waits until the page says so; the page is brought up to date meanwhile."""
        WebDriverWait(self.driver, PATIENCE).until(lambda _: words in self.text(), f"{words!r} in {self.text()!r}")

    def text(self):
        return self.driver.execute_script("return document.body.innerText")

    def click(self, selector):
        """Follows a link or sends a form, and waits until the next page is there."""
        page = self.driver.find_element(By.TAG_NAME, "html")
        # What is brought up to date just now is another element afterwards: it is found and clicked in one step.
        self.find(selector)
        self.driver.execute_script("document.querySelector(arguments[0]).click()", selector)
        WebDriverWait(self.driver, PATIENCE).until(staleness_of(page))
        self.find("main")

    def send(self, form, **fields):
        """Fills a form and sends it, as Enter does: by its first button."""
        self.fill(form, **fields)
        self.click(f"{form} button[type=submit]")

    def fill(self, form, **fields):
        """Fills a form. Names are written as in Python: set_place."""
        for details in self.find(form).find_elements(By.CSS_SELECTOR, "details:not([open]) > summary"):
            details.click()
        for name, value in fields.items():
            field = self.find(f"{form} [name='{name.replace('_', '-')}']")
            field.clear()
            field.send_keys(value)

    def colours(self, scheme):
        colours(self.driver, scheme)

    def complaints(self):
        """What the browser has logged since it was asked last: what the page's own policy refuses, above all."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

"""Every page of the console by axe-core, in light and in dark: what it calls serious or critical ends the run."""

import importlib.util
import pathlib

SCHEMES = ["light", "dark"]
SERIOUS = ["serious", "critical"]
# What is folded is looked at, too.
UNFOLD = "document.querySelectorAll('details').forEach((details) => { details.open = true; });"
RUN = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] }).then(done, (error) => done({ error: `${error}` }));"


def judge(browser):
    axe = source()
    found, pages = [], list(places(browser))
    for place in pages:
        browser.go(place)
        for scheme in SCHEMES:
            browser.colours(scheme)
            found += findings(browser, axe, f"{place} in {scheme}")
    browser.colours("light")
    # Who is not signed in sees one page more.
    browser.go("/")
    browser.click(".person form button")
    for scheme in SCHEMES:
        browser.colours(scheme)
        found += findings(browser, axe, f"/sign-in in {scheme}")
    if found:
        raise SystemExit("axe-core finds what keeps people out:\n" + "\n".join(found))
    print(f"ok  axe-core finds nothing serious on {len(pages) + 1} pages, in light and in dark", flush=True)


def places(browser):
    """The pages, and one of each kind of thing that has a page."""
    yield from ["/", "/loaders", "/costs", "/dead-letters", "/dead-letters/list", "/dead-letters/all?status=open"]
    yield from ["/plans", "/outbox", "/audit", "/actions", "/check", "/nothing", "/dead-letters?code=invalid_pi"]
    for among, link in [("/loaders", "a[href^='/loaders/']"), ("/plans", "td a[href^='/plans/']"),
                        ("/dead-letters/list?status=replayed", "td.lead a"), ("/dead-letters/list?status=open", "td.lead a")]:
        browser.go(among)
        yield browser.find(link).get_attribute("href").removeprefix(browser.address)


def findings(browser, axe, place):
    browser.driver.execute_script(UNFOLD)
    browser.driver.execute_script(axe)
    results = browser.driver.execute_async_script(RUN)
    if "error" in results:
        raise SystemExit(f"{place}: axe-core did not come to its end: {results['error']}")
    for violation in results["violations"]:
        if violation["impact"] in SERIOUS:
            for node in violation["nodes"]:
                yield f"{place}: {violation['id']} ({violation['impact']}): {node['target']}: {node['failureSummary']}"


def source():
    """The script itself. The package is looked up and not imported: it would want another driver."""
    package = importlib.util.find_spec("axe_playwright_python").submodule_search_locations[0]
    return pathlib.Path(package, "axe.min.js").read_text(encoding="utf-8")

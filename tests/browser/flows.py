"""Does on the console what operators do, and sees that the browser complains of nothing: flows.py"""

import json

import accessibility
from world import Browser, chromium, demo

# So many have two letters of each kind.
MESSAGES = 4_400
SEED = 1


def sign_in(browser, role, password):
    browser.go("/plans")
    browser.send("form.sign-in", role=role, password="another")
    browser.wait_for("is not right")
    # The refusal is an answer with status 401, which the browser notes; no page is to blame for it.
    complained(browser, but="401")
    browser.send("form.sign-in", role=role, password=password)
    # One comes to where one wanted to go.
    browser.wait_for("A replay is a plan")
    browser.click(".bar nav a[href='/']")
    browser.wait_for("are open")


def follow_a_group_to_a_plan_and_run_it(browser):
    browser.click(".bar nav a[href='/dead-letters']")
    browser.click("td.lead a[href*='version_pre_release']")
    browser.click("a.button[href^='/dead-letters/all']")
    browser.send("form[action='/plans/draw']", set_place="/app_version", set_value='"2.3.0"', reason="A beta counts as 2.3.0")
    browser.wait_for("ready")
    letters = browser.find("label[for=letters] strong").text
    browser.send("form[action$='/run']", letters=letters)
    browser.wait_for(f"{letters} of {letters}")
    browser.wait_for("done")


def edit_one_body_and_replay_it(browser):
    letter(browser, "truncated_json")
    login = {"user_id": "u-1", "app_version": "2.3.0", "device_type": "web", "ip": "203.0.113.7", "locale": None,
             "device_id": "593-47-5928"}
    form = "form[action='/plans/draw']"
    browser.fill(form, body=json.dumps({**login, "app_version": "two"}), reason="Written anew by hand")
    # Nobody has asked for it: it is judged once the typing stops.
    browser.wait_for("invalid_version")
    browser.fill(form, body=json.dumps(login))
    browser.wait_for("It can be loaded")
    browser.click(f"{form} button[type=submit]")
    browser.wait_for("replace the whole body")
    browser.send("form[action$='/run']")
    browser.wait_for("1 of 1")
    browser.wait_for("done")


def reveal_a_body_for_a_reason(browser):
    letter(browser, "array_body")
    browser.send("form[action$='/reveal']", reason="To see what the batch held")
    browser.wait_for("It is shown here for two minutes")
    browser.find("details > summary").click()
    browser.click("form.edit button[formaction$='/judge']")
    browser.wait_for("array_body")
    browser.click(".bar nav a[href='/actions']")
    browser.wait_for("To see what the batch held")


def pause_and_resume(browser):
    browser.click(".bar nav a[href='/loaders']")
    browser.send("form[action='/loaders/pause']", reason="The database is moved")
    browser.wait_for("Paused: all loaders")
    browser.click(".bar nav a[href='/']")
    browser.wait_for("The database is moved")
    browser.go("/loaders")
    browser.send("form[action='/loaders/resume']", reason="It is moved")
    browser.wait_for("Resumed: all loaders")


def discard_one_and_open_it_again(browser):
    letter(browser, "array_body")
    browser.send("form[action$='/discard']", reason="Sent again by the app's team")
    browser.send("form[action$='/reopen']", reason="It was not sent again after all")
    browser.click(".bar nav a[href='/actions']")
    browser.wait_for("It was not sent again after all")


def letter(browser, code):
    browser.go(f"/dead-letters/list?code={code}&status=open")
    browser.click("td.lead a")


def complained(browser, but=None):
    found = [words for words in browser.complaints() if but is None or but not in words]
    if found:
        raise SystemExit("the browser complains:\n" + "\n".join(found))


def main():
    with demo(MESSAGES, SEED) as (address, role, password, _), chromium() as driver:
        browser = Browser(driver, address)
        flows = [
            ("sign in", lambda: sign_in(browser, role, password)),
            ("from a group to a plan that is run", lambda: follow_a_group_to_a_plan_and_run_it(browser)),
            ("edit and replay one", lambda: edit_one_body_and_replay_it(browser)),
            ("reveal and judge", lambda: reveal_a_body_for_a_reason(browser)),
            ("discard and reopen", lambda: discard_one_and_open_it_again(browser)),
            ("pause and resume", lambda: pause_and_resume(browser)),
        ]
        for name, flow in flows:
            flow()
            complained(browser)
            print(f"ok  {name}", flush=True)
        accessibility.judge(browser)
        complained(browser, but="status of 4")


if __name__ == "__main__":
    main()

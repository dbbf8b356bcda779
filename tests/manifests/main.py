"""Renders what deploy/ has for Kubernetes, checks it and what it has for ECS and systemd, and shows that each check can fail.

What the program's own flags and variables are is held by tests/manifests.rs.
"""

import sys
import time

import kubernetes
import mistakes
import templates
import units


def main():
    failures = []
    began = time.monotonic()
    for overlay in kubernetes.OVERLAYS:
        objects = kubernetes.rendered(overlay)
        failures += report(f"kubernetes/{overlay}: {len(objects)} objects", kubernetes.wrong_in(objects))
    for template in templates.TEMPLATES:
        failures += report(str(template.relative_to(templates.DEPLOY)), templates.wrong_in(template))
    failures += report(f"systemd: {len(units.all_units())} units", units.wrong_in(units.all_units()))
    found, missed = mistakes.tried()
    failures += report(f"mistakes put in: {found} found", missed)
    print(f"took {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


def report(what, wrong):
    print(f"{what}: {'ok' if not wrong else 'WRONG'}")
    for line in wrong:
        print(f"    {line}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())

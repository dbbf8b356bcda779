"""The templates of CloudFormation in deploy/, held against Amazon's own schemas by cfn-lint."""

import pathlib
import subprocess
import sys

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
TEMPLATES = sorted(path for path in DEPLOY.rglob("*.yaml") if "AWSTemplateFormatVersion" in path.read_text())


def wrong_in(template):
    """What cfn-lint says: errors, and warnings as well."""
    linter = pathlib.Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([linter, "--format", "parseable", "--", template], capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    return said or ([f"cfn-lint ended with {done.returncode}"] if done.returncode else [])

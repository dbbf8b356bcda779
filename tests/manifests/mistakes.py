"""Mistakes that are put into what deploy/ has, one at a time: each must be found, and for what it is."""

import copy
import pathlib
import tempfile

import kubernetes
import templates
import units

# A change of the rendered objects, by the object that it changes, and what must be said of it.
OBJECTS = [
    ("Deployment", "turnstile-loader", lambda it: it["spec"].update(replica=2), "replica"),
    ("Deployment", "turnstile-loader", lambda it: it["spec"].update(replicas="two"), "two"),
    ("Deployment", "turnstile-loader", lambda it: it["spec"].update(replicas=2), "each apply would set again"),
    ("Deployment", "turnstile-loader", lambda it: it["spec"]["strategy"]["rollingUpdate"].update(maxSurge=0), "maxSurge"),
    ("Deployment", "turnstile-loader", lambda it: pod(it).update(serviceAccountName="default"), "service account"),
    ("Deployment", "turnstile-loader", lambda it: pod(it).pop("automountServiceAccountToken"), "automount"),
    ("Deployment", "turnstile-loader", lambda it: pod(it).update(terminationGracePeriodSeconds=30), "termination"),
    ("Deployment", "turnstile-loader", lambda it: pod(it)["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
    ("Deployment", "turnstile-loader", lambda it: pod(it)["securityContext"].pop("seccompProfile"), "seccompProfile"),
    ("Deployment", "turnstile-loader", lambda it: pod(it)["volumes"][-1]["secret"].pop("defaultMode"), "read by others"),
    ("Deployment", "turnstile-relay", lambda it: program(it)["securityContext"].update(privileged=True), "privileged"),
    ("Deployment", "turnstile-relay", lambda it: program(it)["securityContext"].pop("capabilities"), "capabilities"),
    ("Deployment", "turnstile-relay", lambda it: program(it)["securityContext"].pop("readOnlyRootFilesystem"), "readOnly"),
    ("Deployment", "turnstile-relay", lambda it: program(it)["securityContext"].pop("allowPrivilegeEscalation"), "allowPriv"),
    ("Deployment", "turnstile-relay", lambda it: program(it)["resources"]["limits"].update(cpu="1"), "CPU has a limit"),
    ("Deployment", "turnstile-relay", lambda it: program(it)["resources"]["limits"].pop("memory"), "memory has no limit"),
    ("Deployment", "turnstile-console", lambda it: program(it)["livenessProbe"]["httpGet"].update(path="/readyz"), "liveness"),
    ("Deployment", "turnstile-console", lambda it: program(it).pop("readinessProbe"), "readinessProbe"),
    ("PodDisruptionBudget", "turnstile-loader", lambda it: it["spec"].update(maxUnavailabel=1), "maxUnavailabel"),
    ("PodDisruptionBudget", "turnstile-loader", lambda it: it["spec"].update(maxUnavailable=0), "maxUnavailable"),
    ("PodDisruptionBudget", "turnstile-relay", lambda it: labels(it).update({"app.kubernetes.io/component": "x"}), "no pod"),
    ("NetworkPolicy", "turnstile", lambda it: it["spec"]["podSelector"]["matchLabels"].update(a="b"), "no pod"),
    ("Service", "turnstile-console", lambda it: it["spec"]["selector"].update(a="b"), "no pod"),
    ("CronJob", "turnstile-audit", lambda it: it["spec"].pop("concurrencyPolicy"), "concurrencyPolicy"),
    ("CronJob", "turnstile-audit", lambda it: it["spec"]["jobTemplate"]["spec"].pop("backoffLimit"), "backoffLimit"),
    ("Job", "turnstile-migrate", lambda it: it["spec"].update(backoffLimit=6), "backoffLimit"),
    ("ScaledObject", "turnstile-loader", lambda it: it["spec"].update(minReplicaCount="one"), "one"),
    ("ScaledObject", "turnstile-loader", lambda it: it["spec"].update(minReplicaCont=1), "minReplicaCont"),
    ("ScaledObject", "turnstile-loader", lambda it: it["spec"]["scaleTargetRef"].update(name="loader"), "no such Deployment"),
    ("ScaledObject", "turnstile-loader", lambda it: scaler(it).update(scaleOnInflight="false"), "scaleOnInflight"),
    ("ScaledObject", "turnstile-loader", lambda it: scaler(it).update(queueLength=5), "is not of type 'string'"),
    ("ScaledObject", "turnstile-loader", lambda it: scaler(it).update(queueURL="logins2"), "another queue"),
    ("ScaledObject", "turnstile-loader", lambda it: it["spec"]["triggers"][0].update(type="aws-sqs"), "not known"),
    ("TriggerAuthentication", "turnstile-queue", lambda it: it["spec"]["podIdentity"].update(provider="amazon"), "amazon"),
    ("TriggerAuthentication", "turnstile-queue", lambda it: it["metadata"].update(name="queue"), "no such TriggerAuth"),
    ("ServiceAccount", "turnstile-loader", lambda it: it.update(kind="ServiceAcount"), "ServiceAcount"),
]

# A change of a file's text: what stands there, what is put in its place, and what must be said of it.
TEMPLATES = [
    ("ecs/turnstile.yaml", "StopTimeout", "StopTimout", "StopTimout"),
    ("kubernetes/eks/identity.yaml", "AWS::EKS::PodIdentityAssociation", "AWS::EKS::PodIdentity", "AWS::EKS::PodIdentity"),
]
UNITS = [
    ("turnstile.service", "Restart=on-failure", "Restart=on-failur", "on-failur"),
    ("turnstile-relay.service", "WatchdogSec=", "WatchdogSecs=", "WatchdogSecs"),
    ("turnstile-relay.service", "RestartSec=5s", "RestartSec=5s\nRestartSteps=3", "RestartSteps"),
    ("turnstile-audit.timer", "OnCalendar=*-*-* 03:17", "OnCalendar=*-*-* 25:17", "25:17"),
    # What follows is in a section that systemd leaves to others.
    ("turnstile-console.service", "UMask=0077\n", "[X-Others]\n", "exposed by"),
]


def tried():
    """How many were found, and which were not."""
    missed, number = [], 1
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "kustomization.yaml").write_text("resources: [nowhere.yaml]\n")
        try:
            missed += expect("nowhere.yaml", kubernetes.wrong_in(kubernetes.rendered(folder)), "kustomization")
        except SystemExit as refused:
            missed += expect("nowhere.yaml", [str(refused)], "kustomization")
    objects = kubernetes.rendered("eks")
    for kind, name, change, said in OBJECTS:
        changed = copy.deepcopy(objects)
        item = kubernetes.named(changed, kind, name)
        change(item)
        number += 1
        missed += expect(said, kubernetes.wrong_in(changed, item), f"{kind} {name}")
    for path, good, bad, said in TEMPLATES:
        with tempfile.TemporaryDirectory() as folder:
            changed = pathlib.Path(folder, "template.yaml")
            changed.write_text(replaced((templates.DEPLOY / path).read_text(), good, bad))
            number += 1
            missed += expect(said, templates.wrong_in(changed), path)
    for name, good, bad, said in UNITS:
        text = replaced((units.FOLDER / name).read_text(), good, bad)
        number += 1
        missed += expect(said, units.wrong_in(units.all_units() | {name: text}, name), name)
    return number - len(missed), missed


def expect(said, wrong, where):
    return [] if any(said in line for line in wrong) else [f"{where}: nobody says “{said}”, but {wrong}"]


def replaced(text, good, bad):
    assert good in text, good
    return text.replace(good, bad, 1)


def pod(item):
    return item["spec"]["template"]["spec"]


def program(item):
    return pod(item)["containers"][0]


def labels(item):
    return item["spec"]["selector"]["matchLabels"]


def scaler(item):
    return item["spec"]["triggers"][0]["metadata"]

"""The objects of deploy/kubernetes: rendered by kubectl, held against the schemas of Kubernetes and of KEDA and against what
the project asks of every pod."""

import pathlib
import subprocess

import jsonschema
import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda

FOLDER = pathlib.Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = sorted(place.parent.name for place in FOLDER.glob("*/kustomization.yaml") if place.parent.name != "base")
# The oldest that its makers still support.
VERSION = "1.34"
# What the scaler aws-sqs-queue of KEDA 2.20 reads.
OF_THE_QUEUE = {
    "queueURL", "queueURLFromEnv", "queueLength", "activationQueueLength", "awsRegion", "awsEndpoint", "scaleOnInFlight",
    "scaleOnDelayed",
}
LONG_RUNNING = {"turnstile-loader", "turnstile-relay", "turnstile-console"}


def rendered(overlay):
    """What kubectl makes of an overlay."""
    done = subprocess.run(["kubectl", "kustomize", FOLDER / overlay], capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise SystemExit(f"manifests: kubectl kustomize {overlay}: {done.stderr}")
    return list(yaml.safe_load_all(done.stdout))


def wrong_in(objects, changed=None):
    """What is wrong with the objects, where all but the changed one are known to fit their schemas."""
    judged = objects if changed is None else [changed]
    wrong = [f"{name(item)}: {problem}" for item in judged for problem in against_schema(item)]
    if wrong:
        return wrong
    for item in objects:
        wrong += [f"{name(item)}: {problem}" for problem in of_its_kind(item, objects)]
    return wrong


def against_schema(item):
    if item["apiVersion"].startswith("keda.sh/"):
        return against_keda(item)
    try:
        kubernetes_validate.validate(item, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    return []


def against_keda(item):
    model = getattr(keda, item["kind"], None)
    if model is None:
        return [f"KEDA has no {item['kind']}"]
    schema = closed(model.model_json_schema(by_alias=True))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(item)
    wrong = [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]
    for trigger in item["spec"].get("triggers", []) if not wrong else []:
        if trigger["type"] != "aws-sqs-queue":
            wrong.append(f"the trigger {trigger['type']} is not known here")
        wrong += [f"the scaler does not read {key}" for key in trigger["metadata"].keys() - OF_THE_QUEUE]
    return wrong


def closed(schema):
    """The schema, but a property that it does not name is refused, as the API server does with --validate=strict."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    return schema


def of_its_kind(item, objects):
    kind, spec = item["kind"], item.get("spec", {})
    pods = [pod for other in objects if (pod := pod_of(other))]
    if pod := pod_of(item):
        yield from of_pod(item, pod, objects)
    if kind == "CronJob":
        yield from different({"concurrencyPolicy": "Forbid"}, spec, "")
    if kind in ("Job", "CronJob"):
        yield from different({"backoffLimit": 0}, spec if kind == "Job" else spec["jobTemplate"]["spec"], "")
    if kind == "PodDisruptionBudget":
        yield from different({"maxUnavailable": 1}, spec, "")
    selector = {
        "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
        "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
        "Service": lambda: spec["selector"],
    }.get(kind)
    if selector and not any(selector().items() <= pod["metadata"]["labels"].items() for pod in pods):
        yield "it selects no pod"
    if kind == "ScaledObject":
        yield from of_scaling(spec, objects)


def of_scaling(spec, objects):
    target = named(objects, "Deployment", spec["scaleTargetRef"]["name"])
    if target is None:
        yield "there is no such Deployment"
        return
    if "replicas" in target["spec"]:
        yield "its Deployment has a number of replicas, which each apply would set again"
    settings = settings_of(target, objects)
    for trigger in spec["triggers"]:
        if named(objects, "TriggerAuthentication", trigger["authenticationRef"]["name"]) is None:
            yield "there is no such TriggerAuthentication"
        if trigger["metadata"]["queueURL"] != settings["TURNSTILE_QUEUE"]:
            yield f"it looks at another queue than the loaders' {settings['TURNSTILE_QUEUE']}"


def of_pod(item, pod, objects):
    """What is asked of every pod of Turnstile."""
    spec = pod["spec"]
    account = named(objects, "ServiceAccount", spec.get("serviceAccountName"))
    if account is None:
        yield "it has no service account of its own"
    yield from different(
        {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 60,
            "securityContext.runAsNonRoot": True,
            "securityContext.seccompProfile.type": "RuntimeDefault",
        },
        spec,
        "",
    )
    for volume in spec.get("volumes", []):
        if "secret" in volume and volume["secret"].get("defaultMode") != 0o400:
            yield f"the secret of the volume {volume['name']} can be read by others"
    for container in spec["containers"]:
        yield from different(
            {
                "securityContext.allowPrivilegeEscalation": False,
                "securityContext.privileged": False,
                "securityContext.readOnlyRootFilesystem": True,
                "securityContext.capabilities.drop": ["ALL"],
            },
            container,
            "",
        )
        limits = container.get("resources", {}).get("limits", {})
        if "memory" not in limits:
            yield "its memory has no limit"
        if "cpu" in limits:
            yield "its CPU has a limit"
        if item["kind"] == "Deployment":
            # Whoever is alive need not have a database.
            paths = {"livenessProbe.httpGet.path": "/livez", "readinessProbe.httpGet.path": "/readyz"}
            yield from different(paths, container, "")
    if item["metadata"]["name"] in ("turnstile-loader", "turnstile-relay"):
        yield from different({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, item["spec"]["strategy"], "strategy.")


def different(wanted, found, prefix):
    for path, value in wanted.items():
        there = found
        for step in path.split("."):
            there = there.get(step) if isinstance(there, dict) else None
        if there != value:
            yield f"{prefix}{path} is {there}, not {value}"


def settings_of(workload, objects):
    """The variables of its container that stand in the manifests."""
    container = pod_of(workload)["spec"]["containers"][0]
    settings = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            settings |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    return settings | {entry["name"]: entry.get("value") for entry in container.get("env", [])}


def pod_of(item):
    spec = item.get("spec", {})
    return spec.get("jobTemplate", {}).get("spec", {}).get("template") or spec.get("template")


def named(objects, kind, wanted):
    return next((item for item in objects if item["kind"] == kind and item["metadata"]["name"] == wanted), None)


def name(item):
    return f"{item['kind']} {item['metadata']['name']}"

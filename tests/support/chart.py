"""The Helm chart, rendered with sets of values."""

from __future__ import annotations

import json
from functools import cache

import yaml
from support.deploy_tools import DEPLOY, run_tool

CHART = DEPLOY / "helm" / "clip-worker"
REDIS = "settings.REDIS_URL=redis://redis:6379/0"
SECRET = "secretSettings.REDIS_URL.name=redis,secretSettings.REDIS_URL.key=url"
KEDA = "keda.enabled=true"
ALL = (
    f"{KEDA},serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus,"
    "prometheusRule.enabled=true,networkPolicy.enabled=true"
)
VALUE_SETS = {
    "few": [REDIS],
    "all": [f"{SECRET},{ALL}"],
    "gpu": [
        f"{SECRET},gpu.enabled=true,runtimeClassName=nvidia",
        "gpu.resource=nvidia.com/mig-1g.10gb",
        "tolerations[0].key=nvidia.com/gpu,tolerations[0].operator=Exists",
        "nodeSelector.zone=a,priorityClassName=low,topologySpreadConstraints[0].maxSkew=1",
        "topologySpreadConstraints[0].topologyKey=kubernetes.io/hostname",
        "topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway",
    ],
    "claim": [f"{SECRET},model.volume=claim,model.claim=models,strategy.type=Recreate"],
    "baked in": [
        f"{REDIS},model.volume=none,settings.MODEL=/models/model.pt,settings.OFFLINE=true",
        "settings.DRAIN_TIMEOUT_S=100,terminationGracePeriodSeconds=120,settings.MAX_BYTES=67108864",
    ],
    "bare": [
        f"{REDIS},exporter.enabled=false,podDisruptionBudget.enabled=false",
        "serviceAccount.create=false,fullnameOverride=tagging,podAnnotations.a=b,podLabels.c=d",
    ],
    "peers": [
        f"{REDIS},networkPolicy.enabled=true,networkPolicy.publicPorts[0]=443",
        "networkPolicy.redisTo[0].podSelector.matchLabels.app=redis",
        "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
        "networkPolicy.extraEgress[0].to[0].ipBlock.cidr=10.1.2.3/32",
        "imagePullSecrets[0].name=registry,envFrom[0].secretRef.name=more,extraEnv[0].name=TZ",
        "extraEnv[0].value=UTC,extraVolumes[0].name=ca,extraVolumes[0].secret.secretName=ca",
        "extraVolumeMounts[0].name=ca,extraVolumeMounts[0].mountPath=/ca",
    ],
}


def arguments(values: list[str]) -> list[str]:
    return [part for each in values for part in ("--set", each)]


def render(values: list[str], *more: str) -> list[dict]:
    """The manifests, in Helm's order."""
    return [each for each in yaml.safe_load_all(_rendered(*arguments(values), *more)) if each]


@cache
def _rendered(*arguments: str) -> str:
    finished = run_tool("helm", "template", "r", CHART, *arguments)
    assert finished.returncode == 0, finished.stdout
    return "\n".join(line for line in finished.stdout.splitlines() if "level=INFO" not in line)


def refusal(values: list[str]) -> str:
    """What Helm says of values that the chart refuses."""
    finished = run_tool("helm", "template", "r", CHART, *arguments(values))
    assert finished.returncode != 0
    return finished.stdout


def of_kind(manifests: list[dict], kind: str) -> list[dict]:
    return [each for each in manifests if each["kind"] == kind]


def pods(manifests: list[dict]) -> dict[str, dict]:
    """The pods' specs, by component."""
    return {
        each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"][
            "template"
        ]["spec"]
        for each in of_kind(manifests, "Deployment")
    }


def environment(pod: dict) -> dict[str, object]:
    """Variables of a pod's container; those from a Secret are (name, key)."""
    found = {}
    for each in pod["containers"][0]["env"]:
        reference = each.get("valueFrom", {}).get("secretKeyRef", {})
        found[each["name"]] = each.get("value", (reference.get("name"), reference.get("key")))
    return found


def schema() -> dict:
    return json.loads((CHART / "values.schema.json").read_text())

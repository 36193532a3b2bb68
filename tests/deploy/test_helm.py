"""deploy/helm: what the chart makes is valid and confined, and is asked and stopped in order."""

from __future__ import annotations

import kubernetes_validate
import pytest
from support.chart import (
    CHART,
    REDIS,
    SECRET,
    VALUE_SETS,
    arguments,
    environment,
    of_kind,
    pods,
    refusal,
    render,
)
from support.deploy_tools import run_tool
from support.metric_names import alert_rules

from worker.settings import Settings
from worker.variables import ENV_PREFIX, START_OPTIONS

OLDEST, NEWEST = "1.27", "1.35"
CUSTOM = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}  # their schemas are not Kubernetes'
every_set = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)


@every_set
def test_helm_has_nothing_to_say_against_it(values: list[str]):
    linted = run_tool("helm", "lint", "--strict", CHART, *arguments(values))
    assert linted.returncode == 0, linted.stdout


@every_set
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_each_manifest_is_valid_and_has_no_unknown_field(values: list[str], version: str):
    for manifest in render(values):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_an_unknown_field_would_be_found():
    (deployment,) = of_kind(render(VALUE_SETS["bare"]), "Deployment")
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


@every_set
def test_no_pod_has_more_rights_than_it_needs(values: list[str]):
    # the profile "restricted" of Kubernetes' pod security standards, and more
    for pod in pods(render(values)).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_probes_ask_the_metrics_port():
    pod = pods(render([SECRET]))["worker"]
    container = pod["containers"][0]
    port = container["ports"][0]
    assert environment(pod)["CLIP_WORKER_METRICS_PORT"] == str(port["containerPort"])
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {
        "startup": {"path": "/healthz", "port": port["name"]},
        "liveness": {"path": "/healthz", "port": port["name"]},
        "readiness": {"path": "/readyz", "port": port["name"]},
    }


@every_set
def test_only_settings_that_exist_are_set_and_secrets_stay_in_secrets(values: list[str]):
    known = {ENV_PREFIX + name.upper() for name in (*Settings.model_fields, *START_OPTIONS)}
    for pod in pods(render(values)).values():
        variables = environment(pod)
        assert not {name for name in variables if name.startswith(ENV_PREFIX)} - known
        if SECRET in values[0]:
            assert variables["CLIP_WORKER_REDIS_URL"] == ("redis", "url")


def test_numbers_and_booleans_are_written_as_the_worker_reads_them():
    variables = environment(pods(render(VALUE_SETS["baked in"]))["worker"])
    assert variables["CLIP_WORKER_MAX_BYTES"] == "67108864"
    assert variables["CLIP_WORKER_OFFLINE"] == "true"


def test_values_of_a_file_are_written_as_the_worker_reads_them(tmp_path):
    path = tmp_path / "values.yaml"
    path.write_text("settings: {MAX_BYTES: 67108864, MAX_WAIT_S: 0.05, REMOTE_CONTROL: false}\n")
    variables = environment(pods(render([REDIS], "--values", str(path)))["worker"])
    assert variables["CLIP_WORKER_MAX_BYTES"] == "67108864"
    assert variables["CLIP_WORKER_MAX_WAIT_S"] == "0.05"
    assert variables["CLIP_WORKER_REMOTE_CONTROL"] == "false"


def test_logs_are_json_unless_the_values_say_otherwise():
    assert environment(pods(render([REDIS]))["worker"])["CLIP_WORKER_LOG_FORMAT"] == "json"
    text = pods(render([f"{REDIS},settings.LOG_FORMAT=text"]))["worker"]["containers"][0]["env"]
    formats = [each["value"] for each in text if each["name"] == "CLIP_WORKER_LOG_FORMAT"]
    assert formats == ["text"]


def test_a_worker_with_a_gpu_asks_for_one_and_takes_no_cpu_instead():
    pod = pods(render(VALUE_SETS["gpu"]))["worker"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == 1
    assert environment(pod)["CLIP_WORKER_DEVICE"] == "cuda"
    assert pod["runtimeClassName"] == "nvidia"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["replicas=1"], "No Redis is given; set secretSettings.REDIS_URL.name and .key"),
        ([f"{REDIS},{SECRET}"], "REDIS_URL is in settings and in secretSettings; give only one."),
        (
            [f"{REDIS},settings.DRAIN_TIMEOUT_S=50"],
            "Seconds is 60, but a worker may drain for 50 s; give 65 or more.",
        ),
        ([f"{REDIS},model.volume=claim"], "model.claim is empty; name a PersistentVolumeClaim."),
        ([f"{REDIS},keda.enabled=true,exporter.enabled=false"], "keda.enabled needs exporter"),
        ([f"{REDIS},replica=2"], "replica"),
        ([f"{REDIS},secretSettings.MODEL.name=x"], "key"),
        ([f"{REDIS},settings.max_batch=3"], "max_batch"),
    ],
)
def test_values_that_contradict_each_other_or_are_misspelt_are_refused(values, sentence):
    assert sentence in refusal(values)


def test_prometheus_gets_the_same_alerts_and_jobs():
    manifests = render(VALUE_SETS["all"])
    (rules,) = of_kind(manifests, "PrometheusRule")
    assert [rule for group in rules["spec"]["groups"] for rule in group["rules"]] == alert_rules()
    monitors = of_kind(manifests, "ServiceMonitor")
    assert {each["spec"]["endpoints"][0]["relabelings"][0]["replacement"] for each in monitors} == {
        "clip-worker",
        "clip-worker-exporter",
    }
    services = of_kind(manifests, "Service")
    for monitor in monitors:
        selected = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = [each for each in services if selected <= each["metadata"]["labels"].items()]
        assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_services_select_pods_of_their_component_alone():
    manifests = render(VALUE_SETS["all"])
    for service in of_kind(manifests, "Service"):
        selector = service["spec"]["selector"].items()
        matching = [
            each
            for each in of_kind(manifests, "Deployment")
            if selector <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(matching) == 1


def test_keda_wakes_a_worker_for_what_is_queued_or_in_flight():
    manifests = render(VALUE_SETS["all"])
    (scaled,) = of_kind(manifests, "ScaledObject")
    worker = next(each for each in of_kind(manifests, "Deployment") if "exporter" not in name(each))
    messages, work = scaled["spec"]["triggers"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == name(worker)
    assert "replicas" not in worker["spec"]
    assert scaled["spec"]["minReplicaCount"] == 0
    # the URL is the exporter's service
    assert messages["metadata"]["url"] == (
        "http://r-clip-worker-exporter.default.svc:9108/queue.json"
    )
    assert "r-clip-worker-exporter" in map(name, of_kind(manifests, "Service"))
    assert messages["metadata"]["valueLocation"] == "total_messages"
    assert messages["metadata"]["activationTargetValue"] == "0"
    # how long the present workers need: the number of replicas follows its ratio to the target
    assert work["metadata"]["valueLocation"] == "work_seconds"
    assert work["metricType"] == "Value"


def test_without_seconds_of_work_keda_counts_messages_alone():
    (scaled,) = of_kind(
        render([f"{REDIS},keda.enabled=true,keda.workSeconds=null"]), "ScaledObject"
    )
    assert [each["metadata"]["valueLocation"] for each in scaled["spec"]["triggers"]] == [
        "total_messages"
    ]


def name(manifest: dict) -> str:
    return manifest["metadata"]["name"]

{{- define "clip-worker.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "clip-worker.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "clip-worker.labels" -}}
{{ include "clip-worker.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "clip-worker.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "clip-worker.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "clip-worker.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "clip-worker.metricsPort" -}}9108{{- end }}

{{/* One variable, from a value or from a Secret. */}}
{{- define "clip-worker.variable" -}}
- name: CLIP_WORKER_{{ .name }}
{{- if kindIs "map" .value }}
  valueFrom:
    secretKeyRef:
      name: {{ .value.name | quote }}
      key: {{ .value.key | quote }}
{{- else if kindIs "float64" .value }}
  value: {{ .value | toJson | quote }}
{{- else }}
  value: {{ .value | quote }}
{{- end }}
{{- end }}

{{/* What values can contradict each other in, said before anything is installed. */}}
{{- define "clip-worker.check" -}}
{{- if and (not .Values.settings.REDIS_URL) (not .Values.secretSettings.REDIS_URL) (not .Values.envFrom) }}
{{- fail "No Redis is given; set secretSettings.REDIS_URL.name and .key to the Secret that holds its URL, or settings.REDIS_URL if the URL has no password." }}
{{- end }}
{{- range $name, $value := .Values.secretSettings }}
{{- if hasKey $.Values.settings $name }}
{{- fail (printf "%s is in settings and in secretSettings; give only one." $name) }}
{{- end }}
{{- end }}
{{- $drain := .Values.settings.DRAIN_TIMEOUT_S | default 8 | float64 }}
{{- if gt (addf $drain 15.0) (float64 .Values.terminationGracePeriodSeconds) }}
{{- fail (printf "terminationGracePeriodSeconds is %v, but a worker may drain for %v s; give %v or more." .Values.terminationGracePeriodSeconds $drain (addf $drain 15.0 | ceil)) }}
{{- end }}
{{- if and (eq .Values.model.volume "claim") (not .Values.model.claim) }}
{{- fail "model.volume is claim, but model.claim is empty; name a PersistentVolumeClaim." }}
{{- end }}
{{- if and .Values.keda.enabled (not .Values.exporter.enabled) }}
{{- fail "keda.enabled needs exporter.enabled: KEDA asks the exporter." }}
{{- end }}
{{- end }}

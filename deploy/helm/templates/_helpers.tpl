{{- define "doorstep.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "doorstep.selector" . }}
{{- end }}

{{- define "doorstep.selector" -}}
app.kubernetes.io/name: doorstep
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pods that take sockets. */}}
{{- define "doorstep.cells" -}}
{{ include "doorstep.selector" . }}
app.kubernetes.io/component: cell
{{- end }}

{{- define "doorstep.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "doorstep.environment" -}}
- {name: DOORSTEP_GATEWAY__HOST, value: 0.0.0.0}
- {name: DOORSTEP_GATEWAY__PORT, value: "8000"}
- {name: DOORSTEP_ADMIN__HOST, value: 0.0.0.0}
- {name: DOORSTEP_ADMIN__PORT, value: "8001"}
- {name: DOORSTEP_KAFKA__BOOTSTRAP_SERVERS, value: {{ required "kafka.bootstrapServers: where is Kafka? (host:port,host:port)" .Values.kafka.bootstrapServers | quote }}}
- {name: DOORSTEP_HOLDERS, value: {{ .Values.holders | quote }}}
- {name: DOORSTEP_CONSUMERS, value: {{ .Values.consumers | quote }}}
- {name: DOORSTEP_DRAIN_S, value: {{ .Values.drainSeconds | quote }}}
{{- if .Values.routes }}
- {name: DOORSTEP_ROUTES, value: /etc/doorstep/config/routes.toml}
{{- end }}
{{- range $setting, $key := .Values.secrets.files }}
- {name: {{ $setting }}_FILE, value: /etc/doorstep/secrets/{{ $key }}}
{{- end }}
{{- range $setting, $value := .Values.settings }}
- {name: {{ $setting }}, value: {{ $value | quote }}}
{{- end }}
{{ include "doorstep.libraries" . }}
{{- end }}

{{/* What OpenTelemetry and Ray read themselves, on each node that has actors. */}}
{{- define "doorstep.libraries" -}}
{{- range $name, $value := .Values.environment }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* What every pod is: who runs it, where it may be, and what it may not. */}}
{{- define "doorstep.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "doorstep.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "doorstep.cells" $ | nindent 6 }}
{{- end }}
{{- end }}

{{- define "doorstep.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "doorstep.mounts" -}}
- {name: secrets, mountPath: /etc/doorstep/secrets, readOnly: true}
- {name: config, mountPath: /etc/doorstep/config, readOnly: true}
- {name: tmp, mountPath: /tmp}
- {name: home, mountPath: /home/doorstep}
- {name: shm, mountPath: /dev/shm}
{{- end }}

{{- define "doorstep.volumes" -}}
- name: secrets
  secret:
    secretName: {{ required "secrets.name: the Secret that has the keys of secrets.files" .Values.secrets.name }}
    defaultMode: 0440
- name: config
  configMap: {name: {{ .Release.Name }}}
- name: tmp
  emptyDir: {}
- name: home
  emptyDir: {}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.sharedMemory }}}
{{- end }}

{{/* Ray's own variables on each node of a cluster: its head may be away for ten minutes. */}}
{{- define "doorstep.ray" -}}
- {name: RAY_gcs_rpc_server_reconnect_timeout_s, value: "600"}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
{{- end }}

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

{{- define "doorstep.group" -}}
{{ get .Values.settings "DOORSTEP_KAFKA__GROUP_ID" | default "doorstep" }}
{{- end }}

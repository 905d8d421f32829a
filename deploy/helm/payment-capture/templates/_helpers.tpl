{{/* At most 52 characters, because the name of a StatefulSet is part of a label of its pods. */}}
{{- define "payment-capture.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end -}}
{{- .Values.fullnameOverride | default $name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "payment-capture.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "payment-capture.labels" -}}
{{ include "payment-capture.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* The pods of the service, without those of the topic job. */}}
{{- define "payment-capture.serviceSelector" -}}
{{ include "payment-capture.selector" . }}
app.kubernetes.io/component: service
{{- end }}

{{- define "payment-capture.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "payment-capture.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "payment-capture.fullname" .) "default") -}}
{{- end }}

{{/* Templates get numbers as floats, and would write a million as 1e+06. */}}
{{- define "payment-capture.text" -}}
{{- if kindIs "float64" . }}{{ . | toJson }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{/* The file of a variable: MERCADOPAGO_ACCESS_TOKEN_FILE is mercadopago-access-token. */}}
{{- define "payment-capture.file" -}}
{{- trimSuffix "_FILE" . | lower | replace "_" "-" -}}
{{- end }}

{{/* The variables: .config and .files. */}}
{{- define "payment-capture.env" -}}
{{- range $name, $value := .config }}
- name: {{ $name }}
  value: {{ include "payment-capture.text" $value | quote }}
{{- end }}
{{- range $name, $_ := .files }}
- name: {{ $name }}
  value: /etc/payment-capture/{{ include "payment-capture.file" $name }}
{{- end }}
{{- end }}

{{/* The volume with all files: one, so that a certificate and its key change together. */}}
{{- define "payment-capture.filesVolume" -}}
- name: files
  projected:
    defaultMode: 0440
    sources:
      {{- range $variable, $from := . }}
      - {{ hasKey $from "secret" | ternary "secret" "configMap" }}:
          name: {{ $from.secret | default $from.configMap }}
          items:
            - {key: {{ $from.key | quote }}, path: {{ include "payment-capture.file" $variable }}}
      {{- end }}
{{- end }}

{{/* The probes' scheme, if it is not HTTP. */}}
{{- define "payment-capture.scheme" -}}
{{- if hasKey .Values.files "ADMIN_TLS_CERT_FILE" }}, scheme: HTTPS{{ end -}}
{{- end }}

{{- define "payment-capture.filesMount" -}}
- {name: files, mountPath: /etc/payment-capture, readOnly: true}
{{- end }}

{{- define "payment-capture.securityContext" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* What both pods have. The service does not need the variables of the cluster (PAYMENT_CAPTURE_PORT, …). */}}
{{- define "payment-capture.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $name := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with index $.Values $name }}
{{- dict $name . | toYaml | nindent 0 }}
{{- end }}
{{- end }}
{{- end }}

{{/* SHUTDOWN_TIMEOUT and 15 seconds, so that calls in progress finish and are committed before the pod is killed. */}}
{{- define "payment-capture.gracePeriod" -}}
{{- $seconds := 15 -}}
{{- range regexFindAll "[0-9]+[hms]" .Values.config.SHUTDOWN_TIMEOUT -1 -}}
{{- $unit := get (dict "h" 3600 "m" 60 "s" 1) (regexFind "[hms]" .) -}}
{{- $seconds = add $seconds (mul $unit (regexFind "[0-9]+" .)) -}}
{{- end -}}
{{- $seconds -}}
{{- end }}

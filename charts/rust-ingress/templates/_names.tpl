{{- define "rust-ingress.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "rust-ingress.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "rust-ingress.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "rust-ingress.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "rust-ingress.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- /* What selects our Pods; never changes over upgrades, since selectors can't. */}}
{{- define "rust-ingress.selector" -}}
app.kubernetes.io/name: {{ include "rust-ingress.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "rust-ingress.labels" -}}
{{ include "rust-ingress.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: rust-ingress
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* metadata of an object: root, and optionally name, namespace, cluster (true: cluster-scoped), labels, annotations. */}}
{{- define "rust-ingress.metadata" -}}
name: {{ default (include "rust-ingress.fullname" .root) .name }}
{{- if not .cluster }}
namespace: {{ default (include "rust-ingress.namespace" .root) .namespace }}
{{- end }}
labels:
  {{- include "rust-ingress.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rust-ingress.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "rust-ingress.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "rust-ingress.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "rust-ingress.lease" -}}
{{- default (include "rust-ingress.fullname" .) .Values.leaderElection.leaseName }}
{{- end }}

{{- /* "true" where the Service for clients is made. */}}
{{- define "rust-ingress.hasService" -}}
{{- if kindIs "bool" .Values.service.enabled }}{{ if .Values.service.enabled }}true{{ end }}
{{- else if eq .Values.kind "deployment" }}true{{ end }}
{{- end }}

{{- /* NAMESPACE/NAME of the Service whose addresses are published, or nothing. */}}
{{- define "rust-ingress.publishService" -}}
{{- if .Values.publishStatus.service }}
{{- .Values.publishStatus.service }}
{{- else if and (not .Values.publishStatus.addresses) (include "rust-ingress.hasService" .) }}
{{- printf "%s/%s" (include "rust-ingress.namespace" .) (include "rust-ingress.fullname" .) }}
{{- end }}
{{- end }}

{{- /* "true" where addresses of nodes are published. */}}
{{- define "rust-ingress.publishesNodes" -}}
{{- if not (or .Values.publishStatus.addresses (include "rust-ingress.publishService" .)) }}true{{ end }}
{{- end }}

{{- define "rust-ingress.hostNetwork" -}}
{{- if kindIs "bool" .Values.hostNetwork }}{{ if .Values.hostNetwork }}true{{ end }}
{{- else if eq .Values.kind "daemonset" }}true{{ end }}
{{- end }}

{{- /* The port of an address such as [::]:80, 0.0.0.0:80. */}}
{{- define "rust-ingress.port" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}

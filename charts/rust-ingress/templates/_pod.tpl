{{- /* The Pod template of both shapes. */}}
{{- define "rust-ingress.pod" -}}
metadata:
  {{- /* Without versions of the chart: a new chart with the same program and settings must not roll Pods. */}}
  labels:
    {{- include "rust-ingress.selector" . | nindent 4 }}
    {{- with .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) .Values.podAnnotations .Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "rust-ingress.serviceAccount" . }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "rust-ingress.placement" . | trim | nindent 2 }}
  dnsPolicy: {{ .Values.dnsPolicy }}
  {{- with .Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "rust-ingress.podSecurity" . | nindent 4 }}
  {{- $sysctls := and .Values.l4.enabled .Values.l4.sysctls }}
  {{- if or $sysctls .Values.initContainers }}
  initContainers:
  {{- if $sysctls }}
  {{- /* Kernel settings need a privileged container; this one ends before the program, which isn't, begins. */}}
  - name: sysctl
    image: {{ include "rust-ingress.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args: [agent, sysctl]
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      privileged: true
      readOnlyRootFilesystem: true
      runAsUser: 0
      runAsGroup: 0
  {{- end }}
  {{- with .Values.initContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
  containers:
  - name: rust-ingress
    {{- include "rust-ingress.container" . | nindent 4 }}
  {{- with .Values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  volumes:
  - name: state
    {{- with .Values.state }}
    {{- if .hostPath }}
    hostPath:
      path: {{ .hostPath }}
      type: DirectoryOrCreate
    {{- else }}
    emptyDir:
      {{- with .medium }}
      medium: {{ . }}
      {{- end }}
      sizeLimit: {{ .sizeLimit }}
    {{- end }}
    {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "rust-ingress.container" -}}
image: {{ include "rust-ingress.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
{{ include "rust-ingress.args" . | trim }}
env:
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- /* On the host network a containerPort is a host port: the scheduler would keep the Pod of an upgrade off its node. */}}
{{- if not (include "rust-ingress.hostNetwork" .) }}
ports:
{{- range $index, $address := .Values.config.http }}
- name: http{{ if $index }}-{{ $index }}{{ end }}
  containerPort: {{ include "rust-ingress.port" $address }}
{{- end }}
{{- range $index, $address := .Values.config.https }}
- name: https{{ if $index }}-{{ $index }}{{ end }}
  containerPort: {{ include "rust-ingress.port" $address }}
{{- end }}
- name: health
  containerPort: {{ .Values.config.healthPort }}
{{- end }}
startupProbe:
  httpGet:
    path: /livez
    port: {{ .Values.config.healthPort }}
  {{- toYaml .Values.startupProbe | nindent 2 }}
livenessProbe:
  httpGet:
    path: /livez
    port: {{ .Values.config.healthPort }}
  {{- toYaml .Values.livenessProbe | nindent 2 }}
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ .Values.config.healthPort }}
  {{- toYaml .Values.readinessProbe | nindent 2 }}
{{- with .Values.lifecycle }}
lifecycle:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- include "rust-ingress.security" . | nindent 2 }}
volumeMounts:
- name: state
  mountPath: /var/lib/rust-ingress
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "rust-ingress.podSecurity" -}}
{{- if not (kindIs "invalid" .Values.podSecurityContext) }}
{{- toYaml .Values.podSecurityContext }}
{{- else if eq .Values.kind "deployment" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- if not (include "rust-ingress.hostNetwork" .) }}
# Ports 80 and 443 without a capability, in this Pod's own network namespace.
sysctls:
- name: net.ipv4.ip_unprivileged_port_start
  value: "0"
{{- end }}
{{- else -}}
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- end }}

{{- define "rust-ingress.security" -}}
{{- if not (kindIs "invalid" .Values.securityContext) }}
{{- toYaml .Values.securityContext }}
{{- else if eq .Values.kind "deployment" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- else -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
# Capabilities count for user 0 only: Kubernetes has no ambient ones.
runAsUser: 0
runAsGroup: 0
capabilities:
  drop: [ALL]
  add: [NET_ADMIN, NET_BIND_SERVICE, NET_RAW]
{{- end }}
{{- end }}

{{- define "rust-ingress.placement" -}}
{{- if include "rust-ingress.hostNetwork" . -}}
hostNetwork: true
{{ end -}}
{{- $priority := .Values.priorityClassName }}
{{- if kindIs "invalid" $priority }}
{{- $priority = ternary "system-node-critical" "system-cluster-critical" (eq .Values.kind "daemonset") }}
{{- end }}
{{- with $priority -}}
priorityClassName: {{ . }}
{{ end -}}
{{- with .Values.nodeSelector -}}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with .Values.affinity -}}
affinity:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- if kindIs "invalid" .Values.tolerations }}
{{- if eq .Values.kind "daemonset" -}}
tolerations:
- operator: Exists
{{ end -}}
{{- else }}
{{- with .Values.tolerations -}}
tolerations:
{{ toYaml . }}
{{ end -}}
{{- end }}
{{- if kindIs "invalid" .Values.topologySpreadConstraints }}
{{- if eq .Values.kind "deployment" -}}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "rust-ingress.selector" . | nindent 6 }}
{{ end -}}
{{- else }}
{{- with .Values.topologySpreadConstraints -}}
topologySpreadConstraints:
{{ toYaml . }}
{{ end -}}
{{- end }}
{{- end }}

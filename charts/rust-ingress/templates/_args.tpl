{{- /* The program's arguments: what `rust-ingress run --help` lists. */}}
{{- define "rust-ingress.args" -}}
{{- if and .Values.publishStatus.service .Values.publishStatus.addresses }}
{{- fail "publishStatus: name a service or addresses, not both" }}
{{- end }}
{{- $l7 := not (and .Values.l4.enabled .Values.l4.only) }}
{{- if not (or .Values.config.http .Values.config.https) }}
{{- fail "config.http and config.https: both are empty; nothing would be served" }}
{{- end }}
- run
{{- if $l7 }}
{{- range .Values.config.http }}
- --http={{ . }}
{{- end }}
{{- range .Values.config.https }}
- --https={{ . }}
{{- end }}
{{- end }}
{{- include "rust-ingress.l4Args" . }}
{{- with .Values.config }}
- --admin={{ .admin }}
- --health=[::]:{{ .healthPort }}
- --log-level={{ .logLevel }}
- --log-format={{ .logFormat }}
- --access-log={{ .accessLog }}
- --drain-delay={{ .drain.delay }}
- --drain-timeout={{ .drain.timeout }}
{{- end }}
- --ingress-class={{ .Values.ingressClass.name }}
- --lease-name={{ include "rust-ingress.lease" . }}
- --state-dir=/var/lib/rust-ingress/state
{{- if not .Values.state.persistKeys }}
- --no-persist-keys
{{- end }}
{{- with .Values.apiserver.url }}
- --apiserver={{ . }}
{{- end }}
{{- range .Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
{{- with .Values.publishStatus.addresses }}
- --publish-address={{ join "," . }}
{{- end }}
{{- with include "rust-ingress.publishService" . }}
- --publish-service={{ . }}
{{- end }}
{{- with .Values.config }}
{{- if not (kindIs "invalid" .workers) }}
- --workers={{ .workers }}
{{- end }}
{{- if .proxyProtocol }}
- --proxy-protocol
{{- end }}
{{- with .trustedProxies }}
- --trusted-proxy={{ join "," . }}
{{- end }}
{{- if .sendForwarded }}
- --send-forwarded
{{- end }}
{{- if .allowExternalName }}
- --allow-external-name
{{- end }}
{{- with .defaultCertificateSecret }}
- --default-certificate-secret={{ . }}
{{- end }}
{{- $flags := list
  (list "max-connections" .limits.connections)
  (list "max-connections-per-address" .limits.connectionsPerAddress)
  (list "max-requests-in-flight" .limits.requestsInFlight)
  (list "max-head" .limits.headBytes)
  (list "max-headers" .limits.headers)
  (list "max-body" .limits.bodyBytes)
  (list "max-h2-streams" .limits.h2Streams)
  (list "header-timeout" .timeouts.header)
  (list "keep-alive-timeout" .timeouts.keepAlive)
  (list "connect-timeout" .timeouts.connect)
  (list "response-timeout" .timeouts.response)
  (list "idle-timeout" .timeouts.idle)
  (list "request-timeout" .timeouts.request) }}
{{- range $flags }}
{{- $value := index . 1 }}
{{- if not (kindIs "invalid" $value) }}
- --{{ index . 0 }}={{ if kindIs "string" $value }}{{ $value }}{{ else }}{{ int64 $value }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Those of the node agent. */}}
{{- define "rust-ingress.l4Args" -}}
{{- if .Values.l4.enabled }}
{{- if ne .Values.kind "daemonset" }}
{{- fail "l4: the agent programs the node that it runs on: kind must be daemonset" }}
{{- end }}
{{- if not (include "rust-ingress.hostNetwork" .) }}
{{- fail "l4: the agent programs the node's own network: hostNetwork must not be false" }}
{{- end }}
{{- if .Values.watchNamespaces }}
{{- fail "l4: the agent carries the Services of all namespaces: watchNamespaces must be empty" }}
{{- end }}
{{- $egress := .Values.l4.egressSNAT }}
{{- if and $egress.enabled (not (or .Values.l4.clusterCIDR $egress.nonMasqueradeCIDRs)) }}
{{- fail "l4.egressSNAT: it would hide Pods from each other: set l4.clusterCIDR to the Pod addresses of the cluster" }}
{{- end }}
{{- if and (eq .Values.l4.localPods "cluster-cidr") (not .Values.l4.clusterCIDR) }}
{{- fail "l4.localPods: cluster-cidr needs l4.clusterCIDR" }}
{{- end }}
{{- with .Values.l4 }}
- {{ ternary "--l4-only" "--l4" .only }}
- --node-name=$(NODE_NAME)
{{- with .clusterCIDR }}
- --cluster-cidr={{ join "," . }}
{{- end }}
{{- with .nodePortAddresses }}
- --nodeport-addresses={{ join "," . }}
{{- end }}
{{- if not .localhostNodePorts }}
- --localhost-nodeports=false
{{- end }}
{{- with .localPods }}
- --local-pods={{ . }}
{{- end }}
{{- if .masqueradeAll }}
- --masquerade-all
{{- end }}
{{- with .egressSNAT }}
{{- if .enabled }}
- --egress-snat
{{- with .nonMasqueradeCIDRs }}
- --non-masquerade-cidrs={{ join "," . }}
{{- end }}
{{- if .masqLinkLocal }}
- --masq-link-local
{{- end }}
{{- if .masqLinkLocalIPv6 }}
- --masq-link-local-ipv6
{{- end }}
{{- if .randomFully }}
- --random-fully
{{- end }}
{{- with .toPorts }}
- --to-ports={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

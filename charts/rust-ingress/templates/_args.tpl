{{- /* The program's arguments: what `rust-ingress run --help` lists. */}}
{{- define "rust-ingress.args" -}}
{{- if and .Values.publishStatus.service .Values.publishStatus.addresses }}
{{- fail "publishStatus: name a service or addresses, not both" }}
{{- end }}
{{- if not (or .Values.config.http .Values.config.https) }}
{{- fail "config.http and config.https: both are empty; nothing would be served" }}
{{- end }}
- run
{{- range .Values.config.http }}
- --http={{ . }}
{{- end }}
{{- range .Values.config.https }}
- --https={{ . }}
{{- end }}
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

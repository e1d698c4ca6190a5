{{- /* Alerts on what proxy/OBSERVE.md lists; braces of Prometheus' own templates are written as text. */}}
{{- define "rust-ingress.alerts" -}}
{{- $job := printf "job=\"%s-metrics\"" (include "rust-ingress.fullname" .) -}}
- alert: RustIngressNotReady
  expr: rust_ingress_ready{ {{- $job -}} } == 0
  for: 5m
  labels:
    severity: critical
  annotations:
    summary: {{ "{{ $labels.instance }} serves no traffic: /readyz on its health port says why" | quote }}
- alert: RustIngressListenerUnavailable
  expr: rust_ingress_listeners_unavailable{ {{- $job -}} } > 0
  for: 2m
  labels:
    severity: critical
  annotations:
    summary: {{ "{{ $labels.instance }} can't listen where it should: another program holds the port; see /faults on its admin port" | quote }}
- alert: RustIngressUpstreamErrors
  expr: |
    sum by (route) (rate(rust_ingress_requests_total{ {{- $job }}, code="5xx"} [5m]))
      > 0.05 * sum by (route) (rate(rust_ingress_requests_total{ {{- $job -}} }[5m]))
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: {{ "more than 5 % of the requests of {{ $labels.route }} end in 5xx" | quote }}
- alert: RustIngressObjectFaults
  expr: max by (severity) (rust_ingress_object_faults{ {{- $job }}, severity="error"}) > 0
  for: 15m
  labels:
    severity: warning
  annotations:
    summary: {{ "{{ $value }} objects are served in part or not at all: kubectl get events shows which" | quote }}
- alert: RustIngressCertificateExpires
  expr: min by (source) (rust_ingress_certificate_not_after_timestamp_seconds{ {{- $job -}} }) - time() < 7 * 86400
  for: 1h
  labels:
    severity: warning
  annotations:
    summary: {{ "the certificate of {{ $labels.source }} expires in less than 7 days" | quote }}
{{- end }}

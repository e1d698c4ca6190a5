{{- /* RBAC rules, each where it is needed and no wider. The program reads; it writes status, Events and its Lease. */}}

{{- /* Namespaced objects that routes are made of. Secrets stand apart: see rust-ingress.secretRules. */}}
{{- define "rust-ingress.routeRules" -}}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch, update]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.gatewayClass.create }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies, gateways, grpcroutes, httproutes, listenersets, referencegrants]
  verbs: [get, list, watch]
- apiGroups: [rust-ingress.dev]
  resources: [gatewayparameters]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies/status, gateways/status, grpcroutes/status, httproutes/status, listenersets/status]
  verbs: [patch, update]
{{- /* Authorities that certificates must chain to: only those that something refers to are watched, one at a time. */}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
{{- /* The Service that stands for a Gateway, and the slices that lead it to our Pods. */}}
- apiGroups: [""]
  resources: [services]
  verbs: [create, patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [create, patch]
{{- /* Whoever makes an object that another owns needs this where OwnerReferencesPermissionEnforcement is on. */}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways/finalizers]
  verbs: [update]
{{- end }}
{{- end }}

{{- /* The program watches one Secret at a time, those that something refers to. RBAC can't follow names that change. */}}
{{- define "rust-ingress.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end }}

{{- define "rust-ingress.classRules" -}}
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [get, list, watch]
{{- if .Values.gatewayClass.create }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses/status]
  verbs: [patch, update]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
- apiGroups: [certificates.k8s.io]
  resources: [clustertrustbundles]
  verbs: [get, list, watch]
{{- end }}
{{- end }}

{{- define "rust-ingress.nodeRules" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch]
{{- end }}

{{- /* For the node agent: the node that it runs on, the ranges of ClusterIPs, and pools. What pools give a Service is written
on it: addresses and a condition in its status, and the finalizer that keeps it until they are taken back, in its metadata. */}}
{{- define "rust-ingress.l4Rules" -}}
- apiGroups: [networking.k8s.io]
  resources: [servicecidrs]
  verbs: [get, list, watch]
- apiGroups: [rust-ingress.dev]
  resources: [addresspools]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [services, services/status]
  verbs: [patch]
{{- end }}

{{- /* In our own namespace: the Lease, and our Pods, whose nodes' addresses are published. */}}
{{- define "rust-ingress.ownRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "rust-ingress.lease" . }}]
  verbs: [get, list, watch, patch, update]
{{- if .Values.l4.enabled }}
{{- /* A Lease for each node that answers for addresses of pools: their names can't be listed here. */}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, patch, delete]
{{- end }}
{{- if or .Values.gatewayClass.create (include "rust-ingress.publishesNodes" .) }}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
{{- end }}
{{- end }}

{{- /* One Role and its binding: root, name, namespace, rules. */}}
{{- define "rust-ingress.role" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "rust-ingress.metadata" (dict "root" .root "name" .name "namespace" .namespace) | nindent 2 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "rust-ingress.metadata" (dict "root" .root "name" .name "namespace" .namespace) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
- kind: ServiceAccount
  name: {{ include "rust-ingress.serviceAccount" .root }}
  namespace: {{ include "rust-ingress.namespace" .root }}
{{ end }}

{{- /* One ClusterRole and its binding: root, name, rules. */}}
{{- define "rust-ingress.clusterRole" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "rust-ingress.metadata" (dict "root" .root "name" .name "cluster" true) | nindent 2 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "rust-ingress.metadata" (dict "root" .root "name" .name "cluster" true) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
subjects:
- kind: ServiceAccount
  name: {{ include "rust-ingress.serviceAccount" .root }}
  namespace: {{ include "rust-ingress.namespace" .root }}
{{ end }}

//! The configuration files of the cluster's programs. Each setting that took time to find has its reason beside it.

use std::path::Path;

use super::KubeProxy;
use super::layout::{DNS_V4, Node, POD_RANGES, api_server};
use super::pki::Pki;

/// A kubeconfig for one certificate of [`Pki`].
pub fn kubeconfig(pki: &Pki, user: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: \"{}\", certificate-authority: {}}}}}]
users: [{{name: {user}, user: {{client-certificate: {}, client-key: {}}}}}]
contexts: [{{name: test, context: {{cluster: test, user: {user}}}}}]
current-context: test
",
        api_server(),
        pki.certificate("ca"),
        pki.certificate(user),
        pki.key(user)
    )
}

/// containerd on one node. It stands at its usual places: every node has its own /run and /var/lib.
///
/// `restrict_oom_score_adj`: else runc fails with "can't get final child's PID from pipe: EOF" where the capability to lower
/// oom_score_adj (CAP_SYS_RESOURCE) is missing.
pub fn containerd(pause: &str) -> String {
    format!(
        "version = 2
root = \"/var/lib/containerd\"
state = \"/run/containerd\"
disabled_plugins = [\"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\", \"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.devmapper\"]
[grpc]
  address = \"/run/containerd/containerd.sock\"
[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = \"{pause}\"
  restrict_oom_score_adj = true
  [plugins.\"io.containerd.grpc.v1.cri\".cni]
    bin_dir = \"/usr/lib/cni\"
    conf_dir = \"/var/lib/cni/net.d\"
"
    )
}

/// The Pod network of one node: a bridge, both families, no SNAT (egress is the node agent's to prove), host ports.
pub fn cni(node: Node, mtu: u16) -> String {
    format!(
        r#"{{"cniVersion":"0.4.0","name":"pods","plugins":[
{{"type":"bridge","bridge":"cni0","isDefaultGateway":true,"ipMasq":false,"hairpinMode":true,"mtu":{mtu},
"ipam":{{"type":"host-local","ranges":[[{{"subnet":"{}"}}],[{{"subnet":"{}"}}]],"dataDir":"/var/lib/cni/networks"}}}},
{{"type":"portmap","capabilities":{{"portMappings":true}},"snat":true}}]}}
"#,
        node.pods_v4(),
        node.pods_v6()
    )
}

/// The kubelet of one node.
///
/// `cgroupRoot` of its own: two kubelets on one host would remove each other's Pods. `resolvConf` /dev/null: the host's name
/// servers are not the cluster's. No eviction and no removal of images for a full disk: the disk is the host's, and images
/// that were loaded can't be pulled again.
pub fn kubelet(node: Node, pki: &Pki) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {}}}}}
authorization: {{mode: Webhook}}
clusterDNS: [{DNS_V4}]
clusterDomain: cluster.local
resolvConf: /dev/null
failSwapOn: false
evictionHard: {{nodefs.available: \"0%\", imagefs.available: \"0%\", memory.available: 100Mi}}
tlsCertFile: {}
tlsPrivateKeyFile: {}
volumePluginDir: /var/lib/kubelet/volume-plugins
imageGCHighThresholdPercent: 100
serializeImagePulls: false
maxPods: 200
",
        node.cgroup(),
        pki.certificate("ca"),
        pki.certificate(&node.name()),
        pki.key(&node.name())
    )
}

/// kube-proxy of one node, the peer to measure against.
///
/// Conntrack's totals are the host's, so they are left alone; the timeouts belong to the namespace and are kube-proxy's defaults.
pub fn kube_proxy(node: Node, mode: KubeProxy, kubeconfig: &Path) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: {mode}
clientConnection: {{kubeconfig: {}}}
hostnameOverride: {}
clusterCIDR: {POD_RANGES}
detectLocalMode: ClusterCIDR
conntrack: {{maxPerCore: 0, min: 0}}
nodePortAddresses: [\"0.0.0.0/0\", \"::/0\"]
",
        kubeconfig.display(),
        node.name()
    )
}

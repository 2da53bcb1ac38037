{{- define "keeper.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "keeper.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "keeper.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "keeper.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "keeper.selector" -}}
app.kubernetes.io/name: {{ include "keeper.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "keeper.labels" -}}
{{ include "keeper.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "keeper.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "keeper.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "keeper.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name is required where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "keeper.serviceAccountAnnotations" -}}
{{- $all := deepCopy .Values.serviceAccount.annotations }}
{{- with .Values.serviceAccount.awsRoleArn }}{{ $_ := set $all "eks.amazonaws.com/role-arn" . }}{{ end }}
{{- if $all }}{{ toYaml $all }}{{ end }}
{{- end }}

{{/* The keys of Secrets that become files, as {variable: {secret, key}}. */}}
{{- define "keeper.secretFiles" -}}
{{- $files := dict }}
{{- $standard := dict }}
{{- if eq .Values.mode "production" }}
{{- $standard = dict "SECRET_KEY" .Values.secretKey "KEEPER_TOKEN_PEPPERS" .Values.tokenPeppers "DATABASE_URL" .Values.database "REDIS_URL" .Values.redis }}
{{- end }}
{{- range $name, $from := $standard }}
{{- $secret := required (printf "existingSecret is required: a Secret with %s" $name) ($from.existingSecret | default $.Values.existingSecret) }}
{{- $_ := set $files $name (dict "secret" $secret "key" $from.key) }}
{{- end }}
{{- range $name, $from := .Values.secretVariables }}
{{- $_ := set $files $name (dict "secret" $from.existingSecret "key" $from.key) }}
{{- end }}
{{- toYaml $files }}
{{- end }}

{{/* Plain variables of every process, those of values.variables last. */}}
{{- define "keeper.variables" -}}
{{- $host := required "host is required: the name by which Keeper is reached" .Values.host }}
{{- $found := dict "KEEPER_URL" (printf "https://%s" $host) "ALLOWED_HOSTS" (printf "%s,localhost" $host) "KEEPER_LOG_FILE" "-" "KEEPER_DATA_DIR" "/var/lib/keeper/data" }}
{{- if .Values.trustedProxies }}{{ $_ := set $found "KEEPER_TRUSTED_PROXIES" (join "," .Values.trustedProxies) }}{{ end }}
{{- if .Values.outboundAllowed }}{{ $_ := set $found "KEEPER_OUTBOUND_ALLOWED" (join "," .Values.outboundAllowed) }}{{ end }}
{{- if .Values.metrics.allowedFrom }}{{ $_ := set $found "KEEPER_METRICS_ALLOWED" (join "," (concat (list "127.0.0.1" "::1") .Values.metrics.allowedFrom)) }}{{ end }}
{{- if eq .Values.mode "production" }}
{{- $_ := set $found "KEY_MANAGEMENT_BACKEND" .Values.keys.backend }}
{{- if eq .Values.keys.backend "kms" }}
{{- with .Values.keys.kms }}
{{- $_ := set $found "AWS_REGION" (required "keys.kms.region is required" .region) }}
{{- if .keyId }}{{ $_ := set $found "KMS_KEY_ID" .keyId }}{{ else }}{{ $_ := set $found "KMS_KEY_ALIAS" (required "keys.kms.keyAlias or keys.kms.keyId is required" .keyAlias) }}{{ end }}
{{- end }}
{{- else }}
{{- $_ := set $found "KEEPER_LOCAL_KEY_FILE" "/etc/keeper/local-key/local.key" }}
{{- end }}
{{- if not (or .Values.auditSinks .Values.kept.existingClaim) }}{{ fail "auditSinks is required, or kept.existingClaim: checkpoints of the audit log must outlive a pod" }}{{ end }}
{{- end }}
{{- if .Values.kept.existingClaim }}
{{- $_ := set $found "KEEPER_BACKUP_DIR" "/var/lib/keeper/kept/backups" }}
{{- $_ := set $found "KEEPER_AUDIT_SINKS" "file:/var/lib/keeper/kept/anchors" }}
{{- end }}
{{- if .Values.auditSinks }}{{ $_ := set $found "KEEPER_AUDIT_SINKS" (join "," .Values.auditSinks) }}{{ end }}
{{- if .Values.saml.existingSecret }}
{{- $_ := set $found "KEEPER_SAML_KEY_FILE" "/etc/keeper/saml/tls.key" }}
{{- $_ := set $found "KEEPER_SAML_CERTIFICATE_FILE" "/etc/keeper/saml/tls.crt" }}
{{- end }}
{{- range $name, $value := .Values.variables }}{{ $_ := set $found $name $value }}{{ end }}
{{- toYaml $found }}
{{- end }}

{{- define "keeper.env" -}}
{{- range $name, $value := include "keeper.variables" . | fromYaml }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- range $name, $_ := include "keeper.secretFiles" . | fromYaml }}
- {name: {{ $name }}_FILE, value: /etc/keeper/secrets/{{ $name }}}
{{- end }}
{{- end }}

{{- define "keeper.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: data, mountPath: /var/lib/keeper/data}
{{- if include "keeper.secretFiles" . | fromYaml }}
- {name: secrets, mountPath: /etc/keeper/secrets, readOnly: true}
{{- end }}
{{- if and (eq .Values.mode "production") (eq .Values.keys.backend "local") }}
- {name: local-key, mountPath: /etc/keeper/local-key, readOnly: true}
{{- end }}
{{- if .Values.saml.existingSecret }}
- {name: saml, mountPath: /etc/keeper/saml, readOnly: true}
{{- end }}
{{- if .Values.kept.existingClaim }}
- {name: kept, mountPath: /var/lib/keeper/kept}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "keeper.volumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 256Mi}}
{{- if eq .Values.mode "production" }}
- {name: data, emptyDir: {sizeLimit: 256Mi}}
{{- else if .Values.embedded.persistence.existingClaim }}
- {name: data, persistentVolumeClaim: {claimName: {{ .Values.embedded.persistence.existingClaim }}}}
{{- end }}
{{- with include "keeper.secretFiles" . | fromYaml }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $from := . }}
      - secret: {name: {{ $from.secret }}, items: [{key: {{ $from.key }}, path: {{ $name }}}]}
      {{- end }}
{{- end }}
{{- if and (eq .Values.mode "production") (eq .Values.keys.backend "local") }}
- name: local-key
  secret:
    secretName: {{ required "keys.local.existingSecret is required where keys.backend is local" .Values.keys.local.existingSecret }}
    defaultMode: 0440
    items: [{key: {{ .Values.keys.local.key }}, path: local.key}]
{{- end }}
{{- if .Values.saml.existingSecret }}
- {name: saml, secret: {secretName: {{ .Values.saml.existingSecret }}, defaultMode: 0440}}
{{- end }}
{{- if .Values.kept.existingClaim }}
- {name: kept, persistentVolumeClaim: {claimName: {{ .Values.kept.existingClaim }}}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "keeper.containerSecurity" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

{{/* Waits until the database has this release's migrations, and adds none. */}}
{{- define "keeper.migrationGate" -}}
- name: migrations
  image: {{ include "keeper.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - sh
    - -c
    - until keeper migrate --check >/tmp/migrations 2>&1; do tail -n 1 /tmp/migrations; echo "The database has not got the migrations of this release. Waiting."; sleep 3; done
  env: {{- include "keeper.env" . | nindent 4 }}
  securityContext: {{- include "keeper.containerSecurity" . | nindent 4 }}
  resources: {requests: {cpu: 50m, memory: 192Mi}, limits: {memory: 512Mi}}
  volumeMounts: {{- include "keeper.volumeMounts" . | nindent 4 }}
{{- end }}

{{/* What the pods of all kinds share; root and component, and account for another service account. */}}
{{- define "keeper.pod" -}}
serviceAccountName: {{ .account | default (include "keeper.serviceAccount" .root) }}
automountServiceAccountToken: {{ .root.Values.serviceAccount.automountToken }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
{{- if .root.Values.topologySpreadConstraints }}
{{- toYaml .root.Values.topologySpreadConstraints | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "keeper.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{- define "keeper.podMetadata" -}}
{{- with .root.Values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
labels: {{- include "keeper.labels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "keeper.webProbes" -}}
startupProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 3, failureThreshold: 100}
livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 15, timeoutSeconds: 5, failureThreshold: 4}
readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 2}
{{- end }}

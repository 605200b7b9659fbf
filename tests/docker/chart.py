"""The names that Dagster's Helm chart knows, of the sections that docker/helm/values.yaml uses.

Source: github.com/dagster-io/dagster, helm/dagster/schema/schema/charts (values, run_launcher, daemon, webserver,
postgresql, retention, user_deployments), whose models forbid other names, and helm/dagster/templates; read in November 2026.
"""

from __future__ import annotations

DEPLOYED = {
    "image", "env", "envConfigMaps", "envSecrets", "labels", "nodeSelector", "affinity", "tolerations", "podSecurityContext",
    "securityContext", "resources", "readinessProbe", "livenessProbe", "startupProbe", "annotations", "schedulerName",
    "volumeMounts", "volumes",
}  # fmt: skip
SERVER = DEPLOYED | {"deploymentLabels", "checkDbReadyInitContainer", "logFormat", "initContainerResources"}
CHART: dict[str, set[str]] = {
    "": {
        "global", "rbacEnabled", "serviceAccount", "dagster-user-deployments", "dagsterWebserver", "dagsterDaemon",
        "runLauncher", "generatePostgresqlPasswordSecret", "postgresql", "computeLogManager", "pythonLogs", "telemetry",
        "retention", "additionalInstanceConfig", "concurrency", "scheduler", "imagePullSecrets", "ingress", "migrate",
    },
    "global": {
        "postgresqlSecretName", "dagsterHome", "serviceAccountName", "celeryConfigSecretName", "dagsterInstanceConfigMap",
    },
    "serviceAccount": {"create", "name", "annotations"},
    "dagster-user-deployments": {"enabled", "enableSubchart", "imagePullSecrets", "deployments"},
    "dagsterWebserver": SERVER | {
        "replicaCount", "nameOverride", "pathPrefix", "service", "workspace", "enableReadOnly", "dbStatementTimeout",
        "dbPoolRecycle", "dbPoolMaxOverflow", "logLevel",
    },
    "dagsterWebserver.service": {"type", "port", "annotations"},
    "dagsterDaemon": SERVER | {
        "enabled", "runCoordinator", "heartbeatTolerance", "runMonitoring", "runRetries", "sensors", "schedules",
        "backfills",
    },
    "dagsterDaemon.runCoordinator": {"enabled", "type", "config"},
    "dagsterDaemon.runRetries": {"enabled", "maxRetries", "retryOnAssetOrOpFailure"},
    "runLauncher": {"type", "config"},
    "runLauncher.config": {"celeryK8sRunLauncher", "k8sRunLauncher", "customRunLauncher"},
    "runLauncher.config.k8sRunLauncher": {
        "image", "imagePullPolicy", "jobNamespace", "loadInclusterConfig", "kubeconfigFile", "envConfigMaps", "envSecrets",
        "envVars", "volumeMounts", "volumes", "labels", "failPodOnRunFailure", "resources", "schedulerName",
        "securityContext", "runK8sConfig",
    },
    "runLauncher.config.k8sRunLauncher.runK8sConfig": {
        "containerConfig", "podSpecConfig", "podTemplateSpecMetadata", "jobSpecConfig", "jobMetadata",
    },
    "postgresql": {
        "image", "enabled", "postgresqlHost", "postgresqlUsername", "postgresqlPassword", "postgresqlDatabase",
        "postgresqlParams", "postgresqlScheme", "service",
    },
    "postgresql.service": {"port"},
    "computeLogManager": {"type", "config"},
    "computeLogManager.config": {
        "azureBlobComputeLogManager", "gcsComputeLogManager", "s3ComputeLogManager", "customComputeLogManager",
    },
    "computeLogManager.config.customComputeLogManager": {"module", "class", "config"},
    "pythonLogs": {"pythonLogLevel", "managedPythonLoggers", "dagsterHandlerConfig"},
    "telemetry": {"enabled"},
    "retention": {"enabled", "sensor", "schedule", "autoMaterialize"},
    "retention.sensor": {"purgeAfterDays"},
    "retention.sensor.purgeAfterDays": {"skipped", "success", "failure", "started"},
}  # fmt: skip
USER_DEPLOYMENT = DEPLOYED | {
    "name", "dagsterApiGrpcArgs", "codeServerArgs", "includeConfigInLaunchedRuns", "deploymentNamespace", "port",
    "replicaCount", "initContainers", "sidecarContainers", "deploymentStrategy",
}  # fmt: skip

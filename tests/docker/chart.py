"""The names that Dagster's Helm chart knows, of the sections that docker/helm/values.yaml uses. Typed by hand: what is right
here is right as far as the files were read right, which the comments name, and no chart was rendered.

Source: github.com/dagster-io/dagster, version 1.13, read in November 2026. `charts/` is helm/dagster/schema/schema/charts,
whose pydantic models become the chart's values.schema.json and mostly forbid other names; `templates/` is
helm/dagster/templates, which says what is done with a name.
"""

from __future__ import annotations

# What these have in common: charts/dagster/subschema/webserver.py (Webserver), daemon.py (Daemon), and
# charts/dagster_user_deployments/subschema/user_deployments.py (UserDeployment)
DEPLOYED = {
    "image", "env", "envConfigMaps", "envSecrets", "labels", "nodeSelector", "affinity", "tolerations", "podSecurityContext",
    "securityContext", "resources", "readinessProbe", "livenessProbe", "startupProbe", "annotations", "schedulerName",
    "volumeMounts", "volumes",
}  # fmt: skip
# webserver.py (Webserver), daemon.py (Daemon)
SERVER = DEPLOYED | {"deploymentLabels", "checkDbReadyInitContainer", "logFormat", "initContainerResources"}
CHART: dict[str, set[str]] = {
    # charts/dagster/values.py (DagsterHelmValues)
    "": {
        "global", "rbacEnabled", "serviceAccount", "dagster-user-deployments", "dagsterWebserver", "dagsterDaemon",
        "runLauncher", "generatePostgresqlPasswordSecret", "postgresql", "computeLogManager", "pythonLogs", "telemetry",
        "retention", "additionalInstanceConfig", "concurrency", "scheduler", "imagePullSecrets", "ingress", "migrate",
    },
    # charts/dagster/subschema/global_.py (Global)
    "global": {
        "postgresqlSecretName", "dagsterHome", "serviceAccountName", "celeryConfigSecretName", "dagsterInstanceConfigMap",
    },
    # charts/dagster/subschema/service_account.py
    "serviceAccount": {"create", "name", "annotations"},
    # charts/dagster_user_deployments/subschema/user_deployments.py (UserDeployments)
    "dagster-user-deployments": {"enabled", "enableSubchart", "imagePullSecrets", "deployments"},
    # charts/dagster/subschema/webserver.py (Webserver)
    "dagsterWebserver": SERVER | {
        "replicaCount", "nameOverride", "pathPrefix", "service", "workspace", "enableReadOnly", "dbStatementTimeout",
        "dbPoolRecycle", "dbPoolMaxOverflow", "logLevel",
    },
    # charts/utils/kubernetes.py (Image, which allows other names, too); digest: templates/helpers/_helpers.tpl
    # (dagster.dagsterImage.name, and the same in the subchart's: dagster-io/dagster, pull request 32570)
    "dagsterWebserver.image": {"repository", "tag", "digest", "pullPolicy"},
    # charts/utils/kubernetes.py (Service)
    "dagsterWebserver.service": {"type", "port", "annotations"},
    # charts/dagster/subschema/daemon.py (Daemon, RunCoordinator; the other names are its fields')
    "dagsterDaemon": SERVER | {
        "enabled", "runCoordinator", "heartbeatTolerance", "runMonitoring", "runRetries", "sensors", "schedules",
        "backfills",
    },
    "dagsterDaemon.runCoordinator": {"enabled", "type", "config"},
    "dagsterDaemon.runRetries": {"enabled", "maxRetries", "retryOnAssetOrOpFailure"},
    # charts/dagster/subschema/run_launcher.py (RunLauncher, RunLauncherConfig)
    "runLauncher": {"type", "config"},
    "runLauncher.config": {"celeryK8sRunLauncher", "k8sRunLauncher", "customRunLauncher"},
    # charts/utils/utils.py (ConfigurableClass); templates/helpers/instance/_run-launcher.tpl writes `config` as it stands
    "runLauncher.config.customRunLauncher": {"module", "class", "config"},
    # charts/dagster/subschema/postgresql.py (PostgreSQL, Service)
    "postgresql": {
        "image", "enabled", "postgresqlHost", "postgresqlUsername", "postgresqlPassword", "postgresqlDatabase",
        "postgresqlParams", "postgresqlScheme", "service",
    },
    "postgresql.service": {"port"},
    # charts/dagster/subschema/compute_log_manager.py (ComputeLogManager); customComputeLogManager: charts/utils/utils.py
    # (ConfigurableClass)
    "computeLogManager": {"type", "config"},
    "computeLogManager.config": {
        "azureBlobComputeLogManager", "gcsComputeLogManager", "s3ComputeLogManager", "customComputeLogManager",
    },
    "computeLogManager.config.customComputeLogManager": {"module", "class", "config"},
    # charts/dagster/subschema/python_logs.py
    "pythonLogs": {"pythonLogLevel", "managedPythonLoggers", "dagsterHandlerConfig"},
    # charts/dagster/subschema/telemetry.py
    "telemetry": {"enabled"},
    # charts/dagster/subschema/retention.py (Retention, TickRetention, TickRetentionByType)
    "retention": {"enabled", "sensor", "schedule", "autoMaterialize"},
    "retention.sensor": {"purgeAfterDays"},
    "retention.sensor.purgeAfterDays": {"skipped", "success", "failure", "started"},
}  # fmt: skip
# charts/dagster_user_deployments/subschema/user_deployments.py (UserDeployment)
USER_DEPLOYMENT = DEPLOYED | {
    "name", "dagsterApiGrpcArgs", "codeServerArgs", "includeConfigInLaunchedRuns", "deploymentNamespace", "port",
    "replicaCount", "initContainers", "sidecarContainers", "deploymentStrategy",
}  # fmt: skip
